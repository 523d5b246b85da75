//! What goes wrong, in kinds that an application can act on.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// An error of any kind from below, as applications hand it in and sources hand it out.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong: a [kind](Self::kind) to act on, a text for people, and often a
/// [source](std::error::Error::source). Never holds a secret. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument, a key, a certificate or a connection string is not what it should be. Nothing was sent.
    InvalidArgument,
    /// The hub does not accept the credential (CONNACK 4 or 5): wrong key, expired token, unknown or disabled device.
    Unauthorized,
    /// The hub refuses the device for another reason that stays: protocol version, client id, subscription.
    Rejected,
    /// The hub cannot serve now (CONNACK 3): it is starting, stopping, or too busy.
    Unavailable,
    /// No TLS connection: an unknown authority, a wrong name, a client certificate that is not taken.
    Tls,
    /// No connection: the name is unknown, nobody listens, the connection ended.
    Network,
    /// Something took longer than it may.
    Timeout,
    /// The peer does not speak MQTT, or not as it should.
    Protocol,
    /// The application's token provider failed.
    TokenProvider,
    /// A payload is not the JSON that was asked for, or too large.
    InvalidPayload,
    /// The method call is over: its connection ended, so nobody waits for the answer any more.
    CallEnded,
    /// The client was disconnected, or was never connected.
    Closed,
}

impl ErrorKind {
    /// Whether the same thing may succeed later without a change on the device.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable | Self::Network | Self::Timeout | Self::Protocol | Self::TokenProvider => true,
            Self::InvalidArgument
            | Self::Unauthorized
            | Self::Rejected
            | Self::Tls
            | Self::InvalidPayload
            | Self::CallEnded
            | Self::Closed => false,
        }
    }

    /// Whether a client that was connected before gives up. A TLS failure is no reason: a hub's certificate that ran
    /// out is renewed by its operator, and a fleet that gave up would have to be visited.
    pub(crate) fn ends_reconnecting(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Rejected | Self::InvalidArgument)
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        message: impl Into<Cow<'static, str>>,
        source: impl Into<BoxError>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(Arc::from(source.into())) }
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the client is not connected")
    }

    pub(crate) fn call_ended() -> Self {
        Self::new(
            ErrorKind::CallEnded,
            "the call ended together with its connection, or was answered already",
        )
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same thing may succeed later without a change on the device.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
