//! An HTTP answer that is a refusal.
//!
//! Two shapes of body are in use. Registry: `{"Message":"ErrorCode:DeviceNotFound;text",
//! "ExceptionMessage":"Tracking ID:…"}`. Methods and twins: `Message` is JSON as text, with `errorCode`, `message` and
//! `trackingId`.

use ferrohub_model::ErrorCode;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Details, Error, ErrorKind};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RegistryErrorBody {
    message: String,
    exception_message: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct NestedErrorBody {
    error_code: Option<u32>,
    message: Option<String>,
    tracking_id: Option<String>,
}

impl Error {
    /// Reads a refusal; a body of no known shape still gives a kind and the status.
    pub(crate) fn from_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut details = Details {
            status: Some(status),
            code_name: header("iothub-errorcode"),
            tracking_id: header("x-ms-request-id"),
            ..Details::default()
        };
        let outer: RegistryErrorBody = serde_json::from_slice(body).unwrap_or_default();
        if let Ok(inner) = serde_json::from_str::<NestedErrorBody>(&outer.message) {
            details.code = inner.error_code;
            details.message = inner.message.unwrap_or_default();
            details.tracking_id = inner.tracking_id.or(details.tracking_id);
        } else {
            let text = outer.message.strip_prefix("ErrorCode:").and_then(|text| text.split_once(';'));
            match text {
                Some((name, message)) => {
                    details.code_name.get_or_insert_with(|| name.to_owned());
                    details.message = message.trim().to_owned();
                }
                None => details.message = outer.message,
            }
            if let Some(id) = outer.exception_message.strip_prefix("Tracking ID:") {
                details.tracking_id = Some(id.to_owned());
            }
        }
        let known = details.code_name.as_deref().and_then(ErrorCode::from_name);
        details.code = details.code.or(known.map(ErrorCode::number));
        if details.message.is_empty() {
            details.message = format!("the hub answered {status}");
        }
        details.kind = Some(kind(status, details.code));
        Self(Box::new(details))
    }
}

fn kind(status: StatusCode, code: Option<u32>) -> ErrorKind {
    match (code, status.as_u16()) {
        (Some(404_103), _) => ErrorKind::DeviceNotOnline,
        (Some(400_027), _) => ErrorKind::TakenOver,
        (Some(403_800 | 413_002 | 413_003), _) => ErrorKind::QuotaExceeded,
        (_, 400 | 405 | 415) => ErrorKind::BadRequest,
        (Some(403_002..=403_011), 403) => ErrorKind::QuotaExceeded,
        (_, 401 | 403) => ErrorKind::Unauthorized,
        (_, 404) => ErrorKind::NotFound,
        (_, 408 | 504) => ErrorKind::DeviceTimeout,
        (_, 409) => ErrorKind::Conflict,
        (_, 412) => ErrorKind::PreconditionFailed,
        (_, 413) => ErrorKind::TooLarge,
        (_, 429) => ErrorKind::Throttled,
        (_, 502) => ErrorKind::BadDeviceResponse,
        (_, 503) => ErrorKind::Unavailable,
        (_, 500..) => ErrorKind::Server,
        _ => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, name: Option<&str>, body: &str) -> Error {
        let mut headers = HeaderMap::new();
        if let Some(name) = name {
            headers.insert("iothub-errorcode", name.parse().unwrap());
        }
        Error::from_response(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn the_shape_of_the_registry_is_read() {
        let body = r#"{"Message":"ErrorCode:DeviceNotFound;dev1 is not there","ExceptionMessage":"Tracking ID:ab-G:1"}"#;
        let error = error(404, None, body);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!((error.code(), error.code_name()), (Some(404_001), Some("DeviceNotFound")));
        assert_eq!((error.message(), error.tracking_id()), ("dev1 is not there", Some("ab-G:1")));
        assert_eq!(error.to_string(), "dev1 is not there (DeviceNotFound, 404001)");
        assert!(!error.is_retryable());
    }

    #[test]
    fn the_shape_of_methods_is_read() {
        let body = r#"{"Message":"{\"errorCode\":404103,\"trackingId\":\"cd\",\"message\":\"Timed out.\",\"info\":{}}","ExceptionMessage":""}"#;
        let error = error(404, Some("DeviceNotOnline"), body);
        assert_eq!(error.kind(), ErrorKind::DeviceNotOnline);
        assert_eq!(
            (error.status(), error.code(), error.tracking_id()),
            (Some(404), Some(404_103), Some("cd"))
        );
        assert!(error.is_retryable());
    }

    #[test]
    fn a_body_of_another_shape_still_tells_the_kind() {
        for (status, body, kind) in [
            (401, "", ErrorKind::Unauthorized),
            (429, "<html>", ErrorKind::Throttled),
            (503, "{}", ErrorKind::Unavailable),
            (504, "null", ErrorKind::DeviceTimeout),
            (500, "[1]", ErrorKind::Server),
            (412, r#"{"Message":"changed"}"#, ErrorKind::PreconditionFailed),
        ] {
            let error = error(status, None, body);
            assert_eq!(error.kind(), kind, "{status}");
            assert!(!error.message().is_empty());
        }
    }
}
