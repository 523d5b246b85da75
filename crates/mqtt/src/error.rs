//! What goes wrong in a machine.

use thiserror::Error;

use crate::{DecodeError, EncodeError, PacketKind};

/// The peer broke the protocol or fell silent. The machine is closed: send what is left to send, then close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Bytes that are no packet, or a packet over a limit.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A packet that this peer may not send, or not now: among others the first that is no CONNECT (MQTT-3.1.0-1),
    /// and a second CONNECT (MQTT-3.1.0-2).
    #[error("unexpected {0:?} packet")]
    Unexpected(PacketKind),
    /// A message with QoS 2, which IoT Hub does not know.
    #[error("message with QoS 2")]
    ExactlyOnce,
    /// Server: more input behind CONNECT than is held until the application has answered.
    #[error("too much input before the connection was accepted")]
    HeldInputOverflow,
    /// Server: no CONNECT in time, or no answer of the application. Client: no CONNACK in time.
    #[error("connection was not established in time")]
    ConnectTimeout,
    /// Server: nothing came for one and a half times the keep-alive (MQTT-3.1.2-24).
    #[error("keep-alive expired")]
    KeepAliveTimeout,
    /// Client: no PINGRESP in time.
    #[error("no answer to a ping")]
    PingTimeout,
    /// Client: an answer to no SUBSCRIBE or UNSUBSCRIBE of ours, or with a wrong number of codes (MQTT-3.8.4-5).
    #[error("{0:?} packet that answers nothing")]
    UnexpectedAck(PacketKind),
}

/// A packet of the application could not be sent. The machine is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// Before CONNECT was accepted, or after the end.
    #[error("not connected")]
    NotConnected,
    /// As many packets wait for an acknowledgement as the configuration allows.
    #[error("too many packets wait for an acknowledgement")]
    TooManyInFlight,
    /// QoS 2, which neither machine speaks.
    #[error("QoS 2 is not supported")]
    ExactlyOnce,
    /// No packet can carry this topic, filter or payload.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
