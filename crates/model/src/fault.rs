//! Faults that a test injects into a hub, as their JSON crosses the wire.

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal;)*) => {
        /// What goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum FaultKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        impl FaultKind {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

fault_kinds! {
    /// Connections end: those that there are, and, if it lasts, each new one after the delay.
    DropConnection = "dropConnection";
    /// Connects are refused.
    RefuseConnect = "refuseConnect";
    /// Messages to the hub are lost; acknowledged or not.
    LoseTelemetry = "loseTelemetry";
    /// Messages to the hub are taken and acknowledged late.
    DelayTelemetry = "delayTelemetry";
    /// Method requests do not reach the device.
    LoseMethodRequest = "loseMethodRequest";
    /// Method requests reach the device late.
    DelayMethodRequest = "delayMethodRequest";
    /// The device's answers to methods are acknowledged, and do not reach the caller.
    LoseMethodResponse = "loseMethodResponse";
    /// The device's answers to methods reach the caller late.
    DelayMethodResponse = "delayMethodResponse";
    /// Requests of the device to its twin are carried out and not answered.
    LoseTwinResponse = "loseTwinResponse";
    /// Requests of the device to its twin are answered late.
    DelayTwinResponse = "delayTwinResponse";
    /// HTTPS requests are answered with an error.
    RefuseRequest = "refuseRequest";
}

/// A fault that is asked for. Only what its kind has a meaning for may be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRequest {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For whom: a device id or `device/module`, with `*` for any characters in either; `**` is everybody. With
    /// `refuseRequest` whom an `operation` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For how long. Only `dropConnection` can do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
    /// How often at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How late, for all that come late, and how long after a connect `dropConnection` comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_milliseconds: Option<u32>,
    /// `loseTelemetry`: whether the device believes that the message arrived; if it is left out, it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge: Option<bool>,
    /// `refuseConnect`: 3 (try again later, if it is left out) or 5 (not authorized).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connack: Option<u8>,
    /// `refuseRequest`: the name of the error, such as `ServiceUnavailable` or `ThrottlingException`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `refuseRequest`: the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// `refuseRequest`: `GET`, `PUT` and so on; any if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// `refuseRequest`: `/twins/*/methods`; `*` stands for any characters but `/`, `**` at the end for all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `refuseRequest`: instead of `method` and `path`, such as `invokeMethod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl FaultRequest {
    /// A fault of this kind, with nothing else set.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            target: None,
            duration_seconds: None,
            count: None,
            delay_milliseconds: None,
            acknowledge: None,
            connack: None,
            error: None,
            retry_after_seconds: None,
            method: None,
            path: None,
            operation: None,
        }
    }
}

/// A fault that is injected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Names it, to remove it.
    pub id: String,
    /// How often it came true.
    pub hits: u64,
    /// When it ends, or has ended.
    pub ends: Timestamp,
    /// What was asked for.
    pub fault: FaultRequest,
}
