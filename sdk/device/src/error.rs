//! The error type of the SDK.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

pub use ferrohub_model::ErrorKind;
use ferrohub_model::{ErrorResponse, InvalidHostPort, InvalidId};

/// An error of any type: accepted from applications, and the type of sources.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An operation failed.
///
/// [`kind`](Self::kind) is for programs, the text is for people. If the hub refused a request,
/// [`status`](Self::status), [`code`](Self::code) and [`tracking_id`](Self::tracking_id) repeat its response. The
/// source is the underlying error, if there is one. Never contains a secret. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Details>);

#[derive(Clone)]
struct Details {
    kind: ErrorKind,
    message: Cow<'static, str>,
    response: Option<ErrorResponse>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Returns whether a client that was connected before stops to reconnect. A TLS failure is no reason: the operator of a
/// hub renews an expired certificate, and devices that had given up would need manual work.
pub(crate) fn ends_reconnecting(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unauthorized | ErrorKind::Rejected | ErrorKind::InvalidInput)
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Details { kind, message: message.into(), response: None, source: None }))
    }

    pub(crate) fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the client is not connected")
    }

    pub(crate) fn call_ended() -> Self {
        Self::new(ErrorKind::CallEnded, "the call has been answered already, or its connection has ended")
    }

    /// The hub refused a request. `what` says what failed.
    pub(crate) fn from_response(what: &str, response: ErrorResponse) -> Self {
        let message = format!("{what}: {}", response.text()).into();
        Self(Arc::new(Details { kind: response.kind(), message, response: Some(response), source: None }))
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        Arc::make_mut(&mut self.0).kind = kind;
        self
    }

    /// Returns the kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same operation may succeed later without any change; see [`ErrorKind::is_retryable`]. The
    /// hub may have carried it out already: consider that before you repeat a method call.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// Returns the text, without the codes of the hub.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the status of the hub's response: an HTTP status code, also in responses over MQTT.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.response.as_ref().map(|response| response.status)
    }

    /// Returns the number of the hub's error, such as 404103.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.0.response.as_ref()?.code
    }

    /// Returns the name of the hub's error, such as `DeviceNotOnline`.
    #[must_use]
    pub fn code_name(&self) -> Option<&str> {
        self.0.response.as_ref()?.code_name.as_deref()
    }

    /// Returns the id of this error in the log of the hub.
    #[must_use]
    pub fn tracking_id(&self) -> Option<&str> {
        self.0.response.as_ref()?.tracking_id.as_deref()
    }
}

/// The text, and the codes of the hub in brackets: `the method was not called: … (DeviceNotOnline 404103)`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match self.0.response.as_ref().and_then(ErrorResponse::codes) {
            Some(codes) => write!(f, " ({codes})"),
            None => Ok(()),
        }
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

impl From<InvalidId> for Error {
    fn from(error: InvalidId) -> Self {
        Self::invalid_input(error.to_string()).with_source(error)
    }
}

impl From<InvalidHostPort> for Error {
    fn from(error: InvalidHostPort) -> Self {
        Self::invalid_input(error.to_string()).with_source(error)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_repeats_the_response_of_the_hub() {
        let body = br#"{"errorCode":412001,"message":"another version","trackingId":"t"}"#;
        let error =
            Error::from_response("the twin was not changed", ErrorResponse::parse(412, None, None, body));
        assert_eq!(
            error.to_string(),
            "the twin was not changed: another version (PreconditionFailed 412001)"
        );
        assert_eq!(error.message(), "the twin was not changed: another version");
        assert_eq!((error.kind(), error.status()), (ErrorKind::PreconditionFailed, Some(412)));
        assert_eq!((error.code(), error.code_name()), (Some(412_001), Some("PreconditionFailed")));
        assert_eq!(error.tracking_id(), Some("t"));
        let error = Error::from_response("refused", ErrorResponse::parse(404, None, None, b""));
        assert_eq!(error.to_string(), "refused: status 404");
    }
}
