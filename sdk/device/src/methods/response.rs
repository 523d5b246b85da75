//! The response of a device to a method call.

use bytes::Bytes;
use ferrohub_model::method::MAX_PAYLOAD_SIZE;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::error::{BoxError, Error, ErrorKind};

/// The response to a method call: a status that the application chooses, and a JSON payload of at most 128 KiB.
///
/// The caller receives both. For the hub every status is a success. A handler returns a response, or a `Result` with a
/// response: an error becomes status 400 if its kind is [`ErrorKind::InvalidPayload`] and status 500 otherwise, with a
/// payload `{"error":…,"message":…}`.
///
/// ```
/// # use ferrohub_device::{Error, MethodResponse};
/// # fn example() -> Result<MethodResponse, Error> {
/// MethodResponse::new(200).payload(&serde_json::json!({ "level": 3 }))
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    status: i32,
    payload: Bytes,
}

impl MethodResponse {
    /// A response with this status and the payload `null`.
    #[must_use]
    pub fn new(status: i32) -> Self {
        Self { status, payload: Bytes::from_static(b"null") }
    }

    /// Sets the payload, written as JSON. A handler may return the `Result` as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it cannot be written as JSON; [`ErrorKind::TooLarge`] if it exceeds 128 KiB.
    pub fn payload<T: Serialize + ?Sized>(self, payload: &T) -> Result<Self, Error> {
        let text = serde_json::to_vec(payload).map_err(|error| {
            Error::invalid_input(format!("the payload cannot be written as JSON: {error}")).with_source(error)
        })?;
        self.checked_size(text.into())
    }

    /// Sets the payload to this JSON text, which is sent unchanged.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it is not JSON; [`ErrorKind::TooLarge`] if it exceeds 128 KiB.
    pub fn payload_json(self, text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        serde_json::from_str::<&RawValue>(&text).map_err(|error| {
            Error::invalid_input(format!("the payload is not JSON: {error}")).with_source(error)
        })?;
        self.checked_size(text.into())
    }

    fn checked_size(self, payload: Bytes) -> Result<Self, Error> {
        if payload.len() > MAX_PAYLOAD_SIZE {
            let message =
                format!("the payload has {} bytes; at most {MAX_PAYLOAD_SIZE} are allowed", payload.len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(Self { payload, ..self })
    }

    /// A response of the SDK itself: `{"error": …, "message": …}`.
    pub(crate) fn error_response(status: i32, error: &str, message: &str) -> Self {
        let payload = json!({ "error": error, "message": message });
        Self { status, payload: payload.to_string().into() }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Returns the payload as JSON text.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        // Every constructor checks that it is JSON, hence UTF-8.
        std::str::from_utf8(&self.payload).unwrap_or_default()
    }

    /// Returns the payload as a value of type `T`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not JSON of such a value.
    pub fn payload_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            let message = format!("the payload of the response does not have the expected type: {error}");
            Error::new(ErrorKind::InvalidPayload, message).with_source(error)
        })
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
    fn payloads_are_json_of_limited_size() {
        let response = || MethodResponse::new(200);
        assert_eq!(MethodResponse::new(204).payload_text(), "null");
        assert_eq!(response().payload(&json!({"a": 1})).unwrap().payload_text(), r#"{"a":1}"#);
        assert_eq!(response().payload_json("[1.50]").unwrap().payload_text(), "[1.50]");
        assert_eq!(response().payload_json("{").unwrap_err().kind(), ErrorKind::InvalidInput);
        let large = "x".repeat(MAX_PAYLOAD_SIZE);
        assert_eq!(response().payload(&large).unwrap_err().kind(), ErrorKind::TooLarge);
        let keys = HashMap::from([((1, 2), 3)]);
        assert_eq!(response().payload(&keys).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(MethodResponse::from(response().payload(&large)).status(), 500);
        assert_eq!(MethodResponse::from(response().payload(&keys)).status(), 500);
    }

    #[test]
    fn errors_of_handlers_become_responses() {
        let invalid = Error::new(ErrorKind::InvalidPayload, "a string was expected");
        assert_eq!(MethodResponse::from(Err::<MethodResponse, _>(invalid)).status(), 400);
        let nested = Error::new(ErrorKind::BadRequest, "the hub refused the patch");
        assert_eq!(MethodResponse::from(Err::<MethodResponse, _>(nested)).status(), 500);
        let response = MethodResponse::from(Err::<MethodResponse, _>("the pump is stuck"));
        assert_eq!(response.status(), 500);
        assert_eq!(response.payload_text(), r#"{"error":"HandlerFailed","message":"the pump is stuck"}"#);
    }
}
