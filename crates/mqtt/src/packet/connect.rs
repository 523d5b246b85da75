//! CONNECT and CONNACK (MQTT 3.1.1, sections 3.1, 3.2).

use std::fmt;

use bytes::Bytes;

use crate::{QoS, Utf8};

/// The parameters of a CONNECT packet.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connect {
    /// The client identifier. May be empty; a server may refuse an empty one (MQTT-3.1.3-8).
    pub client_id: Utf8,
    /// Whether the server discards the state of earlier connections.
    pub clean_session: bool,
    /// The keep-alive interval in seconds; 0 turns it off.
    pub keep_alive: u16,
    /// For IoT Hub: host, device and client properties.
    pub username: Option<Utf8>,
    /// For IoT Hub: a SAS token. Not shown by `Debug`. Needs a user name (MQTT-3.1.2-22).
    pub password: Option<Bytes>,
    /// The message that the server publishes if the connection ends without DISCONNECT.
    pub will: Option<Will>,
}

/// The message that a server publishes if the connection of a client ends without DISCONNECT (MQTT 3.1.1, section
/// 3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The topic.
    pub topic: Utf8,
    /// The payload, at most 65 535 bytes.
    pub payload: Bytes,
    /// The quality of service.
    pub qos: QoS,
    /// Whether the server retains the message.
    pub retain: bool,
}

/// The server's response to CONNECT. A refusal cannot announce a session (MQTT-3.2.2-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnAck {
    /// Return code 0.
    Accepted {
        /// Whether the server kept state from an earlier connection.
        session_present: bool,
    },
    /// Return codes 1 to 5. The server closes the connection afterwards.
    Refused(Refusal),
}

/// The reason for which a server refuses a connection (MQTT 3.1.1, table 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// The server does not support this version of MQTT.
    ProtocolVersion = 1,
    /// The client identifier is well-formed, but not allowed.
    ClientId = 2,
    /// The server is temporarily unavailable. Microsoft's SDKs reconnect after this code only.
    ServerUnavailable = 3,
    /// User name or password are malformed. Microsoft's SDKs treat it like 5.
    BadCredentials = 4,
    /// Not authorized. Microsoft's SDKs stop reconnecting.
    NotAuthorized = 5,
}

impl Refusal {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::ProtocolVersion,
            2 => Self::ClientId,
            3 => Self::ServerUnavailable,
            4 => Self::BadCredentials,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("clean_session", &self.clean_session)
            .field("keep_alive", &self.keep_alive)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "<hidden>"))
            .field("will", &self.will)
            .finish()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProtocolVersion => "unacceptable protocol version",
            Self::ClientId => "client identifier rejected",
            Self::ServerUnavailable => "server unavailable",
            Self::BadCredentials => "bad user name or password",
            Self::NotAuthorized => "not authorized",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_password() {
        let connect = Connect { password: Some(Bytes::from_static(b"secret")), ..Connect::default() };
        assert!(!format!("{connect:?}").contains("secret"));
    }
}
