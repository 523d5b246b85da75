//! The JSON of faults that a test injects into a hub.

use serde::{Deserialize, Serialize};

use crate::names::serde_by_name;
use crate::timestamp::Timestamp;

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal;)*) => {
        /// The kind of a fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FaultKind {
            $($(#[$doc])* $kind,)*
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }

        serde_by_name!(FaultKind, Self::ALL);
    };
}

fault_kinds! {
    /// The hub closes existing connections and, if the fault has a duration, each new one after the delay.
    DropConnection = "dropConnection";
    /// The hub refuses connects.
    RefuseConnect = "refuseConnect";
    /// The hub drops messages of devices, acknowledged or not.
    LoseTelemetry = "loseTelemetry";
    /// The hub accepts and acknowledges messages of devices late.
    DelayTelemetry = "delayTelemetry";
    /// Method requests do not reach the device.
    LoseMethodRequest = "loseMethodRequest";
    /// Method requests reach the device late.
    DelayMethodRequest = "delayMethodRequest";
    /// Method responses of the device are acknowledged, but do not reach the caller.
    LoseMethodResponse = "loseMethodResponse";
    /// Method responses of the device reach the caller late.
    DelayMethodResponse = "delayMethodResponse";
    /// Twin requests of the device are executed, but get no response.
    LoseTwinResponse = "loseTwinResponse";
    /// Twin requests of the device get a late response.
    DelayTwinResponse = "delayTwinResponse";
    /// HTTPS requests get an error as response.
    RefuseRequest = "refuseRequest";
}

/// A request to inject a fault. Only the fields that its kind uses may be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRequest {
    /// The kind of the fault.
    pub kind: FaultKind,
    /// The affected identities: a device id or `device/module`, with `*` for any characters in either part; `**` is all
    /// identities. With `refuseRequest`: the identity that an `operation` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How long the fault lasts, in seconds. Optional only for `dropConnection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
    /// Maximum number of hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The delay of the kinds that delay something; for `dropConnection`, the time between connect and drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_milliseconds: Option<u32>,
    /// `loseTelemetry`: whether the hub acknowledges the dropped message; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge: Option<bool>,
    /// `refuseConnect`: the CONNACK return code: 3 (server unavailable, the default) or 5 (not authorized).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connack: Option<u8>,
    /// `refuseRequest`: the name of the error, such as `ServiceUnavailable` or `ThrottlingException`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `refuseRequest`: the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// `refuseRequest`: the HTTP method, such as `GET`; default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// `refuseRequest`: the path, such as `/twins/*/methods`; `*` is any characters except `/`, `**` at the end is any
    /// rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `refuseRequest`: the operation, such as `invokeMethod`, instead of `method` and `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl FaultRequest {
    /// Creates a request for a fault of this kind, without other fields.
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

/// An injected fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The id, which a request to remove the fault needs.
    pub id: String,
    /// Number of hits.
    pub hits: u64,
    /// When the fault ends.
    pub ends: Timestamp,
    /// The request.
    pub fault: FaultRequest,
}
