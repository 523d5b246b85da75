//! Errors of the state machines.

use thiserror::Error;

use crate::{DecodeError, EncodeError, PacketKind};

/// The peer violated the protocol or a time-out expired. The state machine is closed: send the remaining output, then
/// close the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are not a valid packet, or the packet exceeds a limit.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A packet that this peer must not send, or not in this state: for example a first packet other than CONNECT
    /// (MQTT-3.1.0-1), or a second CONNECT (MQTT-3.1.0-2).
    #[error("unexpected {0:?} packet")]
    Unexpected(PacketKind),
    /// A message with QoS 2, which IoT Hub does not support.
    #[error("message with QoS 2")]
    QoS2NotSupported,
    /// Server: more input after CONNECT than is buffered until the application accepts or rejects the connection.
    #[error("too much input before the connection was accepted")]
    BufferedInputOverflow,
    /// Server: no CONNECT in time, or no decision of the application. Client: no CONNACK in time.
    #[error("connection was not established in time")]
    ConnectTimeout,
    /// Server: no input for one and a half times the keep-alive (MQTT-3.1.2-24).
    #[error("keep-alive expired")]
    KeepAliveTimeout,
    /// Client: no PINGRESP in time.
    #[error("no PINGRESP within the time-out")]
    PingTimeout,
    /// Client: a SUBACK or UNSUBACK without a matching request, or with a wrong number of codes (MQTT-3.8.4-5).
    #[error("{0:?} packet without a matching request")]
    UnexpectedAck(PacketKind),
}

/// A packet of the application cannot be sent. The state machine is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// CONNECT is not accepted yet, or the connection is closed.
    #[error("not connected")]
    NotConnected,
    /// The number of unacknowledged packets has reached the configured maximum.
    #[error("too many unacknowledged packets")]
    TooManyInFlight,
    /// QoS 2, which neither state machine supports.
    #[error("QoS 2 is not supported")]
    QoS2NotSupported,
    /// The topic, filter or payload cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
