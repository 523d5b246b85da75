//! Fault injection for tests: the active faults, their targets and durations.
//!
//! Code at a [fault point](FaultPoint) calls [`Faults::hit`] and applies the returned [`Effect`]. While no fault is
//! active for that point, the call costs one relaxed load. Every fault expires. The current time is always a parameter.

mod inject;
mod manage;
mod pattern;
mod rule;
mod table;

pub use pattern::Pattern;
pub use table::{AcceptedFault, EndedFault, FaultHit, Faults};

use std::time::Duration;

use ferrohub_model::ErrorCode;

/// A place in the hub where faults take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultPoint {
    /// A connection was established.
    Connected = 0,
    /// A device sent a connect request.
    Connect = 1,
    /// A device sent a telemetry message.
    Telemetry = 2,
    /// The hub is about to send a method request to a device.
    MethodRequest = 3,
    /// A device sent a method response.
    MethodResponse = 4,
    /// The hub is about to send the response to a device's twin request.
    TwinResponse = 5,
    /// The hub received an HTTPS request.
    Request = 6,
}

impl FaultPoint {
    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// The effect of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The connection is closed.
    Drop {
        /// The delay before the connection is closed.
        after: Duration,
    },
    /// The connect is refused.
    RefuseConnect {
        /// Whether the refusal tells the device to try again later.
        retry: bool,
    },
    /// The message or response is lost.
    Lose {
        /// Whether the sender receives an acknowledgement nevertheless.
        acknowledge: bool,
    },
    /// The message or response is delayed.
    Delay(Duration),
    /// The request is refused.
    Refuse {
        /// The error of the response.
        code: ErrorCode,
        /// The value of the `Retry-After` header, in seconds.
        retry_after: Option<u32>,
    },
}
pub(crate) use inject::FaultInjector;
pub use inject::{Delivery, RefusedRequest};
pub(crate) use manage::run_fault_expiry;
