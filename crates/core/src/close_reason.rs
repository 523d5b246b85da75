//! The reasons for which connections end.

use serde::{Deserialize, Serialize};

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The device disconnected cleanly, for example with an MQTT DISCONNECT.
    ClientDisconnect,
    /// The transport ended without a clean disconnect.
    Lost,
    /// Nothing was received for one and a half times the keep-alive.
    KeepAlive,
    /// The device violated the protocol or a limit.
    ProtocolError,
    /// A newer connection of the same identity replaced it.
    TakenOver,
    /// The token or certificate expired.
    Expired,
    /// The identity was deleted.
    Deleted,
    /// The identity was disabled.
    Disabled,
    /// The keys, certificates or certificate authority with which it authenticated changed.
    CredentialChanged,
    /// The device does not read the data that the hub sends.
    SlowReader,
    /// A fault was injected.
    FaultInjected,
    /// The store failed on a read or write for this device. The device is expected to reconnect.
    StoreFailed,
    /// The hub panicked while it served the connection. The device is expected to reconnect.
    InternalError,
    /// A change of desired properties did not reach the connection. The device reads its twin when it reconnects.
    MissedTwinChange,
    /// The hub is stopping.
    Stopping,
}

impl CloseReason {
    /// Returns a fixed name for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientDisconnect => "client_disconnect",
            Self::Lost => "lost",
            Self::KeepAlive => "keep_alive",
            Self::ProtocolError => "protocol_error",
            Self::TakenOver => "taken_over",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Disabled => "disabled",
            Self::CredentialChanged => "credential_changed",
            Self::SlowReader => "slow_reader",
            Self::FaultInjected => "fault_injected",
            Self::StoreFailed => "store_failed",
            Self::InternalError => "internal_error",
            Self::MissedTwinChange => "missed_twin_change",
            Self::Stopping => "stopping",
        }
    }
}
