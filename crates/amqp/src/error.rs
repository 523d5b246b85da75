//! Errors of the state machine.

use thiserror::Error;

use crate::codec::DecodeError;

/// The peer violated the protocol or a limit, or a time-out expired. The connection is closed: send the remaining
/// output, then close the transport.
///
/// No AMQP close is sent: Microsoft's Node SDKs hang for ever after one that they did not ask for, but reconnect when the
/// transport ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are not a valid frame or performative, or the frame exceeds a limit.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The first bytes are not a protocol header that is expected here (AMQP §2.2). A server answers with its own.
    #[error("unexpected protocol header")]
    ProtocolHeader,
    /// A frame that this peer must not send, or not in this state, such as a begin before open.
    #[error("unexpected {0}")]
    Unexpected(&'static str),
    /// An open with a max-frame-size below 512 (AMQP §2.7.1).
    #[error("max-frame-size {0} is below the minimum of 512 bytes")]
    MaxFrameSize(u32),
    /// A channel above the channel-max of our open (AMQP §2.7.1), or a begin on a channel with a session.
    #[error("channel {0} is in use or above the maximum")]
    Channel(u16),
    /// A handle above the handle-max of our begin (AMQP §2.7.2).
    #[error("handle {0} is above the maximum")]
    Handle(u32),
    /// More input than [`Unauthenticated::max_input`](crate::Unauthenticated::max_input) before authentication.
    #[error("too much input before the client was authenticated")]
    UnauthenticatedInput,
    /// More input than [`Config::max_buffered_input`](crate::Config::max_buffered_input) while the SASL decision was pending.
    #[error("too much input before the SASL decision")]
    BufferedInputOverflow,
    /// The connection was not opened and authenticated in time.
    #[error("the connection was not opened and authenticated in time")]
    HandshakeTimeout,
    /// Nothing was received for twice the announced idle time-out (AMQP §2.4.5).
    #[error("the idle time-out expired")]
    IdleTimeout,
}

/// Something that the application asks for cannot be sent. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is not open, or is closed.
    #[error("the connection is not open")]
    NotOpen,
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
    /// The link is detached, refused, or of the other direction.
    #[error("the link is detached")]
    Detached,
    /// The receiver has not given credit (AMQP §2.6.7). A [`Credit`](crate::Event::Credit) event tells when it does.
    #[error("the link has no credit")]
    NoCredit,
    /// The peer has [`Config::max_unsettled`](crate::Config::max_unsettled) deliveries of this link to settle.
    #[error("too many unsettled deliveries")]
    TooManyUnsettled,
    /// More than [`Config::max_transmit`](crate::Config::max_transmit) bytes wait for the transport or a session window. Try again
    /// after output was polled or input has arrived.
    #[error("too much output is pending")]
    BufferFull,
    /// A delivery tag of more than 32 bytes (AMQP §2.8.7).
    #[error("the delivery tag is longer than 32 bytes")]
    Tag,
    /// The performative does not fit into a frame of the peer's max-frame-size.
    #[error("the performative is larger than the peer's frames")]
    FrameTooLarge,
    /// The peer's channel-max or handle-max is reached.
    #[error("no channel or handle is free")]
    NoneFree,
}
