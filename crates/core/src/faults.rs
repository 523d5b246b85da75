//! Faults that a test injects: which there are, whom each is for, and how long it lasts.
//!
//! Whoever does something that can go wrong asks [`Faults::hit`], and does what the answer says. As long as there is no
//! fault for that point, the question is one relaxed load. Every fault ends by itself. Time is an argument.

mod pattern;
mod rule;
mod table;

pub use table::{AcceptedFault, EndedFault, FaultHit, Faults};

use std::time::Duration;

use ferrohub_model::ErrorCode;

/// Where something can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultPoint {
    /// A connection has begun.
    Connected = 0,
    /// A device wants to connect.
    Connect = 1,
    /// A message from a device.
    Telemetry = 2,
    /// A method request on its way to a device.
    MethodRequest = 3,
    /// A device's answer to a method.
    MethodResponse = 4,
    /// An answer to a device's request to its twin.
    TwinResponse = 5,
    /// An HTTPS request.
    Request = 6,
}

impl FaultPoint {
    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// What goes wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The connection ends after so long.
    Drop {
        /// After so long.
        after: Duration,
    },
    /// The connect is refused.
    RefuseConnect {
        /// Whether the device should try again.
        retry: bool,
    },
    /// It does not arrive.
    Lose {
        /// Whether the sender believes that it did.
        acknowledge: bool,
    },
    /// It arrives late.
    Delay(Duration),
    /// The request is refused.
    Refuse {
        /// With this error.
        code: ErrorCode,
        /// When to come again, in seconds.
        retry_after: Option<u32>,
    },
}
