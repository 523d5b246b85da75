//! What goes wrong, in kinds that an application can act on.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// DeviceNotOnline.
const DEVICE_NOT_ONLINE: u32 = 404_103;

/// An error of any kind from below, as applications hand it in and sources hand it out.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong: a [kind](Self::kind) to act on, a text for people, and often a
/// [source](std::error::Error::source). Never holds a secret. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    refusal: Option<Refusal>,
}

/// What the hub said.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    status: u16,
    code: Option<u32>,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument, a key, a certificate or a connection string is not what it should be. Nothing was sent.
    InvalidInput,
    /// The hub does not accept the credential (CONNACK 4 or 5, status 401 or 403): wrong key, expired token, unknown or disabled device.
    Unauthorized,
    /// The hub refuses the device for another reason that stays: protocol version, client id, subscription.
    Rejected,
    /// The hub cannot serve now (CONNACK 3, status 429 or 5xx): it is starting, stopping, or too busy.
    Unavailable,
    /// No TLS connection: an unknown authority, a wrong name, a client certificate that is not taken.
    Tls,
    /// No connection: the name is unknown, nobody listens, the connection ended.
    Connection,
    /// Something took longer than it may.
    Timeout,
    /// The peer does not speak MQTT, or not as it should.
    Protocol,
    /// The application's token provider failed.
    Credential,
    /// A payload is not the JSON that was asked for, or too large, or breaks the hub's rules.
    InvalidPayload,
    /// The method call is over: its connection ended, so nobody waits for the answer any more.
    CallEnded,
    /// The condition of a request is not met: the twin's version is another.
    PreconditionFailed,
    /// What the request is about does not exist.
    NotFound,
    /// As much waits to be sent as may.
    QueueFull,
    /// There is no connection now, and the client was told not to wait for one.
    Offline,
    /// The connection that brought a message ended before it was completed: the hub delivers it again.
    LockLost,
    /// The client was disconnected, or was never connected.
    Closed,
}

impl ErrorKind {
    /// Whether the same thing may succeed later without a change on the device.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable
            | Self::Connection
            | Self::Timeout
            | Self::Protocol
            | Self::Credential
            | Self::QueueFull
            | Self::Offline => true,
            Self::InvalidInput
            | Self::Unauthorized
            | Self::Rejected
            | Self::Tls
            | Self::InvalidPayload
            | Self::CallEnded
            | Self::PreconditionFailed
            | Self::NotFound
            | Self::LockLost
            | Self::Closed => false,
        }
    }

    /// Whether a client that was connected before gives up. A TLS failure is no reason: a hub's certificate that ran
    /// out is renewed by its operator, and a fleet that gave up would have to be visited.
    pub(crate) fn ends_reconnecting(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Rejected | Self::InvalidInput)
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None, refusal: None }
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        message: impl Into<Cow<'static, str>>,
        source: impl Into<BoxError>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(Arc::from(source.into())), refusal: None }
    }

    pub(crate) fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
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

    /// The hub's answer is a refusal: its status, and a body that may say why.
    pub(crate) fn from_response(status: u16, what: &str, body: &[u8]) -> Self {
        let kind = match status {
            400 | 413 | 415 => ErrorKind::InvalidPayload,
            401 | 403 => ErrorKind::Unauthorized,
            404 => ErrorKind::NotFound,
            408 | 504 => ErrorKind::Timeout,
            412 => ErrorKind::PreconditionFailed,
            429 | 500..600 => ErrorKind::Unavailable,
            _ => ErrorKind::Rejected,
        };
        let (code, said) = explanation(body);
        // A device that is not online now may be later.
        let kind = if code == Some(DEVICE_NOT_ONLINE) { ErrorKind::Unavailable } else { kind };
        let message = match said {
            Some(said) => format!("{what} with status {status}: {said}"),
            None => format!("{what} with status {status}"),
        };
        Self { refusal: Some(Refusal { status, code }), ..Self::new(kind, message) }
    }

    pub(crate) fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// The status of the hub's answer, as in HTTP, where it refused a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.refusal.map(|refusal| refusal.status)
    }

    /// The hub's number for what is wrong, such as 412001, where it gave one.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.refusal?.code
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

/// The number and the text in a hub's error: `{"errorCode":…,"message":…}`, or that as text in a `Message`.
fn explanation(body: &[u8]) -> (Option<u32>, Option<String>) {
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(body) else {
        return (None, None);
    };
    let text = |body: &Map<String, Value>, name: &str| body.get(name)?.as_str().map(str::to_owned);
    let number = |body: &Map<String, Value>| u32::try_from(body.get("errorCode")?.as_u64()?).ok();
    if let Some(outer) = text(&body, "Message") {
        return match serde_json::from_str::<Value>(&outer) {
            Ok(Value::Object(inner)) => (number(&inner), text(&inner, "message").or(Some(outer))),
            _ => (None, Some(outer)),
        };
    }
    (number(&body), text(&body, "message"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_the_hub_said() {
        let inner = r#"{"errorCode":412001,"message":"another version"}"#;
        for body in
            [inner.to_owned(), serde_json::json!({ "Message": inner, "ExceptionMessage": "" }).to_string()]
        {
            let error = Error::from_response(412, "refused", body.as_bytes());
            assert_eq!((error.kind(), error.code()), (ErrorKind::PreconditionFailed, Some(412_001)));
            assert_eq!(error.to_string(), "refused with status 412: another version");
        }
        let plain =
            Error::from_response(429, "refused", br#"{"Message":"ErrorCode:ThrottlingException;slow"}"#);
        assert_eq!((plain.kind(), plain.status(), plain.code()), (ErrorKind::Unavailable, Some(429), None));
        assert!(plain.to_string().ends_with("ThrottlingException;slow"));
        for body in [&b""[..], b"\xff", b"[1]", br#"{"errorCode":"x"}"#] {
            assert_eq!(Error::from_response(404, "refused", body).to_string(), "refused with status 404");
        }
    }
}
