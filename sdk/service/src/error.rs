//! What can go wrong: a kind to act on, and everything the hub said about it.

mod response;

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

/// Any error, as the source of ours.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The connection string, a setting or an argument cannot be used; nothing was sent.
    InvalidInput,
    /// The hub refused an argument, or the body (400).
    BadRequest,
    /// The token was not accepted, or it does not allow the operation (401, 403).
    Unauthorized,
    /// There is no such device, module or resource, or the device is disabled (404).
    NotFound,
    /// The device is not connected, or does not listen for methods (404103).
    DeviceNotOnline,
    /// It exists already (409).
    Conflict,
    /// It has changed since its etag was read (412).
    PreconditionFailed,
    /// The request is larger than the hub takes (413).
    TooLarge,
    /// The hub or the device has as many as it may (403, 413).
    QuotaExceeded,
    /// Too many requests (429).
    Throttled,
    /// The device did not answer in time (504).
    DeviceTimeout,
    /// A newer connection of the device displaced the one that carried the call (400027).
    TakenOver,
    /// The device's answer was not usable (502).
    BadDeviceResponse,
    /// The hub is starting, stopping or overloaded (503).
    Unavailable,
    /// The hub failed (500).
    Server,
    /// The hub could not be reached, or the connection broke.
    Connection,
    /// The hub did not answer in time.
    Timeout,
    /// The token credential gave no token.
    Credential,
    /// The hub's answer was not what it should be.
    Protocol,
}

/// An operation that did not succeed.
pub struct Error(Box<Details>);

#[derive(Debug, Default)]
struct Details {
    kind: Option<ErrorKind>,
    message: String,
    status: Option<StatusCode>,
    code: Option<u32>,
    code_name: Option<String>,
    tracking_id: Option<String>,
    source: Option<BoxError>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details { kind: Some(kind), message: message.into(), ..Details::default() }))
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// An error for a [`TokenCredential`](crate::TokenCredential) of your own.
    pub fn credential(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Credential, message)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind.unwrap_or(ErrorKind::Protocol)
    }

    /// The text, without the codes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The HTTP status, if the hub answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status.map(|status| status.as_u16())
    }

    /// The hub's code, such as 404103.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.0.code
    }

    /// The code's name, such as `DeviceNotOnline`.
    #[must_use]
    pub fn code_name(&self) -> Option<&str> {
        self.0.code_name.as_deref()
    }

    /// What names this refusal in the logs of the hub.
    #[must_use]
    pub fn tracking_id(&self) -> Option<&str> {
        self.0.tracking_id.as_deref()
    }

    /// Whether the same request may succeed later. It may also have been carried out already, except after
    /// [`ErrorKind::Throttled`] and [`ErrorKind::DeviceNotOnline`]: think before you repeat a method call.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::DeviceNotOnline
                | ErrorKind::Throttled
                | ErrorKind::DeviceTimeout
                | ErrorKind::TakenOver
                | ErrorKind::Unavailable
                | ErrorKind::Server
                | ErrorKind::Connection
                | ErrorKind::Timeout
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match (&self.0.code_name, self.0.code, self.0.status) {
            (Some(name), Some(code), _) => write!(f, " ({name}, {code})")?,
            (Some(name), None, _) => write!(f, " ({name})")?,
            (None, Some(code), _) => write!(f, " ({code})")?,
            (None, None, Some(status)) => write!(f, " (HTTP {status})")?,
            (None, None, None) => {}
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("message", &self.message())
            .field("status", &self.status())
            .field("code", &self.code())
            .field("tracking_id", &self.tracking_id())
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
