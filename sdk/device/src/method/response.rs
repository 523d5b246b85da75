//! A device's answer.

use bytes::Bytes;
use ferrohub_model::method::MAX_PAYLOAD_SIZE;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::error::{BoxError, Error, ErrorKind};

/// The answer to a method call: a status that the application chooses, and a JSON payload of at most 128 KiB.
///
/// The back end sees both; to the hub every status is a success. Handlers return one, or a `Result` with one: an error
/// is answered with status 400 if it is [`ErrorKind::InvalidPayload`], with 500 otherwise, and its text as payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    status: i32,
    payload: Bytes,
}

impl MethodResponse {
    /// An answer with this status, whose payload is `null`.
    #[must_use]
    pub fn new(status: i32) -> Self {
        Self { status, payload: Bytes::from_static(b"null") }
    }

    /// The answer with this payload. If it cannot be written as JSON or is too large, the answer becomes status 500
    /// with a payload that says so; [`try_payload`](Self::try_payload) gives the error instead.
    #[must_use]
    pub fn payload<T: Serialize + ?Sized>(self, payload: &T) -> Self {
        self.try_payload(payload).unwrap_or_else(|error| {
            tracing::warn!(%error, "a method's answer cannot be sent");
            Self::error_response(500, "InvalidResponse", &error.to_string())
        })
    }

    /// The answer with this payload.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it cannot be written as JSON or is larger than 128 KiB.
    pub fn try_payload<T: Serialize + ?Sized>(self, payload: &T) -> Result<Self, Error> {
        let text = serde_json::to_vec(payload).map_err(|error| {
            Error::caused(
                ErrorKind::InvalidPayload,
                format!("the answer cannot be written as JSON: {error}"),
                error,
            )
        })?;
        self.checked_size(text.into())
    }

    /// The answer with this JSON text, byte by byte.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not JSON or is larger than 128 KiB.
    pub fn payload_json(self, text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        serde_json::from_str::<&RawValue>(&text).map_err(|error| {
            Error::caused(ErrorKind::InvalidPayload, format!("the answer is not JSON: {error}"), error)
        })?;
        self.checked_size(text.into())
    }

    fn checked_size(self, payload: Bytes) -> Result<Self, Error> {
        if payload.len() > MAX_PAYLOAD_SIZE {
            let message =
                format!("the answer has {} bytes; at most {MAX_PAYLOAD_SIZE} are allowed", payload.len());
            return Err(Error::new(ErrorKind::InvalidPayload, message));
        }
        Ok(Self { payload, ..self })
    }

    /// The device's answer to what it cannot do: `{"error": …, "message": …}`.
    pub(crate) fn error_response(status: i32, error: &str, message: &str) -> Self {
        let payload = json!({ "error": error, "message": message });
        Self { status, payload: payload.to_string().into() }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> i32 {
        self.status
    }

    /// The payload as a value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not such a value.
    pub fn payload_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            let message = format!("the payload of the answer is not what was expected: {error}");
            Error::caused(ErrorKind::InvalidPayload, message, error)
        })
    }

    /// The payload as JSON text.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        // JSON, hence UTF-8, in every constructor.
        std::str::from_utf8(&self.payload).unwrap_or_default()
    }

    pub(crate) fn into_payload(self) -> Bytes {
        self.payload
    }
}

impl<E: Into<BoxError>> From<Result<MethodResponse, E>> for MethodResponse {
    fn from(result: Result<MethodResponse, E>) -> Self {
        result.unwrap_or_else(|error| {
            let error: BoxError = error.into();
            let invalid =
                error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::InvalidPayload);
            match invalid {
                true => Self::error_response(400, "InvalidPayload", &error.to_string()),
                false => Self::error_response(500, "HandlerFailed", &error.to_string()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn payloads_are_json_and_bounded() {
        assert_eq!(MethodResponse::new(204).payload_text(), "null");
        assert_eq!(MethodResponse::new(200).payload(&json!({"a": 1})).payload_text(), r#"{"a":1}"#);
        assert_eq!(MethodResponse::new(200).payload_json("[1.50]").unwrap().payload_text(), "[1.50]");
        assert!(MethodResponse::new(200).payload_json("{").is_err());
        let large = "x".repeat(MAX_PAYLOAD_SIZE);
        assert_eq!(
            MethodResponse::new(200).try_payload(&large).unwrap_err().kind(),
            ErrorKind::InvalidPayload
        );
        assert_eq!(MethodResponse::new(200).payload(&large).status(), 500);
        let keys = HashMap::from([((1, 2), 3)]);
        assert_eq!(MethodResponse::new(200).payload(&keys).status(), 500);
    }

    #[test]
    fn errors_of_handlers_become_answers() {
        let invalid = Error::new(ErrorKind::InvalidPayload, "a string was expected");
        assert_eq!(MethodResponse::from(Err::<MethodResponse, _>(invalid)).status(), 400);
        let answer = MethodResponse::from(Err::<MethodResponse, _>("the pump is stuck"));
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.payload_text(), r#"{"error":"HandlerFailed","message":"the pump is stuck"}"#);
    }
}
