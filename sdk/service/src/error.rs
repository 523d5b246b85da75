//! The error type of the SDK.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use ferrohub_model::ErrorKind;
use ferrohub_model::{ErrorResponse, InvalidHostPort, InvalidId};

/// An error of any type: accepted from credentials, and the type of sources.
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
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self(Arc::new(Details { kind, message, response: None, retry_after: None, source: None }))
    }

    pub(crate) fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// The hub refused a request. `what` says what failed.
    pub(crate) fn from_response(what: &str, response: ErrorResponse) -> Self {
        let message = format!("{what}: {}", response.text()).into();
        let kind = response.kind();
        let response = Some(response);
        Self(Arc::new(Details { kind, message, response, retry_after: None, source: None }))
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        Arc::make_mut(&mut self.0).retry_after = retry_after;
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::from(source.into()));
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

    /// Returns how long the hub asks to wait before the request is repeated: the header `Retry-After`. A hub sends it with the
    /// kinds [`ErrorKind::Throttled`] and [`ErrorKind::Unavailable`].
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the text, without the codes of the hub.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the status of the hub's response: an HTTP status code.
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

/// The text, and the codes of the hub in brackets: `the hub refused the request: … (DeviceNotFound 404001)`.
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
