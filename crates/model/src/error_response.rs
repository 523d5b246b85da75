//! An error response of a hub, as a client reads it.
//!
//! Three shapes of body are in use. Registry: `{"Message":"ErrorCode:DeviceNotFound;text","ExceptionMessage":"Tracking
//! ID:…"}`. Methods and twins over HTTPS: `Message` is JSON as text, with `errorCode`, `message` and `trackingId`.
//! Twins over MQTT: that JSON itself.

use std::fmt;

use serde::Deserialize;

use crate::ErrorCode;
use crate::error_kind::ErrorKind;

/// What a hub said when it refused a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorResponse {
    /// The status, as in HTTP.
    pub status: u16,
    /// The number of the error, such as 404103.
    pub code: Option<u32>,
    /// The name of the error, such as `DeviceNotOnline`.
    pub code_name: Option<String>,
    /// The id of this error in the log of the hub.
    pub tracking_id: Option<String>,
    /// The text for people, without codes.
    pub message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RegistryErrorBody {
    message: String,
    exception_message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NestedErrorBody {
    #[serde(default)]
    error_code: Option<u32>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    tracking_id: Option<String>,
}

impl ErrorResponse {
    /// Reads a response from its status, the headers `iothub-errorcode` and `x-ms-request-id`, and its body. Anything
    /// that cannot be read is left out.
    #[must_use]
    pub fn parse(
        status: u16,
        errorcode_header: Option<&str>,
        request_id_header: Option<&str>,
        body: &[u8],
    ) -> Self {
        let mut response = Self {
            status,
            code_name: errorcode_header.map(str::to_owned),
            tracking_id: request_id_header.map(str::to_owned),
            ..Self::default()
        };
        let registry: RegistryErrorBody = serde_json::from_slice(body).unwrap_or_default();
        if registry.message.is_empty() {
            if let Ok(nested) = serde_json::from_slice(body) {
                response.read_nested(nested);
            }
        } else if let Ok(nested) = serde_json::from_str(&registry.message) {
            response.read_nested(nested);
        } else {
            response.read_registry(registry);
        }
        if response.code.is_none() {
            response.code =
                response.code_name.as_deref().and_then(ErrorCode::from_name).map(ErrorCode::number);
        }
        if response.code_name.is_none() {
            let known = ErrorCode::ALL.iter().find(|code| Some(code.number()) == response.code);
            response.code_name = known.map(|code| code.name().to_owned());
        }
        response
    }

    fn read_nested(&mut self, nested: NestedErrorBody) {
        self.code = nested.error_code;
        self.message = nested.message.filter(|text| !text.is_empty());
        self.tracking_id = nested.tracking_id.or(self.tracking_id.take());
    }

    fn read_registry(&mut self, registry: RegistryErrorBody) {
        let coded = registry.message.strip_prefix("ErrorCode:").and_then(|text| text.split_once(';'));
        self.message = Some(match coded {
            Some((name, text)) => {
                self.code_name.get_or_insert_with(|| name.to_owned());
                text.trim().to_owned()
            }
            None => registry.message,
        });
        if let Some(id) = registry.exception_message.strip_prefix("Tracking ID:") {
            self.tracking_id = Some(id.to_owned());
        }
    }

    /// Returns the text for people, or the status if the hub gave no text.
    #[must_use]
    pub fn text(&self) -> String {
        self.message.clone().unwrap_or_else(|| format!("status {}", self.status))
    }

    /// Returns the name and the number of the error, such as `DeviceNotFound 404001`, as far as they are known.
    #[must_use]
    pub fn codes(&self) -> Option<String> {
        match (&self.code_name, self.code) {
            (Some(name), Some(code)) => Some(format!("{name} {code}")),
            (Some(name), None) => Some(name.clone()),
            (None, Some(code)) => Some(code.to_string()),
            (None, None) => None,
        }
    }

    /// Returns the kind of error that this response means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match (self.code, self.status) {
            (Some(404_103), _) => ErrorKind::DeviceNotOnline,
            (Some(400_027), _) => ErrorKind::TakenOver,
            (Some(412_002), _) => ErrorKind::LockLost,
            (Some(403_002..=403_011 | 403_800 | 413_002 | 413_003 | 413_101), _) => ErrorKind::QuotaExceeded,
            (_, 400 | 405 | 415) => ErrorKind::BadRequest,
            (_, 401 | 403) => ErrorKind::Unauthorized,
            (_, 404) => ErrorKind::NotFound,
            (_, 408) => ErrorKind::Timeout,
            (_, 409) => ErrorKind::Conflict,
            (_, 412) => ErrorKind::PreconditionFailed,
            (_, 413) => ErrorKind::TooLarge,
            (_, 429) => ErrorKind::Throttled,
            (_, 502) => ErrorKind::BadDeviceResponse,
            (_, 503) => ErrorKind::Unavailable,
            (_, 504) => ErrorKind::DeviceTimeout,
            (_, 500..600) => ErrorKind::Server,
            _ => ErrorKind::Rejected,
        }
    }
}

/// The text and, in brackets, the codes: `the device is not registered (DeviceNotFound 404001)`.
impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())?;
        match self.codes() {
            Some(codes) => write!(f, " ({codes})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(status: u16, name: Option<&str>, body: &str) -> ErrorResponse {
        ErrorResponse::parse(status, name, None, body.as_bytes())
    }

    #[test]
    fn the_registry_format_is_read() {
        let body = r#"{"Message":"ErrorCode:DeviceNotFound;dev1 is not there","ExceptionMessage":"Tracking ID:ab-G:1"}"#;
        let response = parse(404, None, body);
        assert_eq!(response.kind(), ErrorKind::NotFound);
        assert_eq!((response.code, response.code_name.as_deref()), (Some(404_001), Some("DeviceNotFound")));
        assert_eq!(response.tracking_id.as_deref(), Some("ab-G:1"));
        assert_eq!(response.to_string(), "dev1 is not there (DeviceNotFound 404001)");
        assert!(!response.kind().is_retryable());
    }

    #[test]
    fn the_nested_format_of_methods_and_twins_is_read() {
        let body = r#"{"Message":"{\"errorCode\":404103,\"trackingId\":\"cd\",\"message\":\"Timed out.\",\"info\":{}}","ExceptionMessage":""}"#;
        let response = ErrorResponse::parse(404, Some("DeviceNotOnline"), Some("header"), body.as_bytes());
        assert_eq!((response.kind(), response.code), (ErrorKind::DeviceNotOnline, Some(404_103)));
        assert_eq!(response.tracking_id.as_deref(), Some("cd"), "the body is more precise than the header");
        assert!(response.kind().is_retryable());
    }

    #[test]
    fn the_bare_format_of_twins_over_mqtt_is_read() {
        let nested = r#"{"errorCode":412001,"message":"another version"}"#;
        for body in
            [nested.to_owned(), serde_json::json!({ "Message": nested, "ExceptionMessage": "" }).to_string()]
        {
            let response = parse(412, None, &body);
            assert_eq!((response.kind(), response.code), (ErrorKind::PreconditionFailed, Some(412_001)));
            assert_eq!(response.to_string(), "another version (PreconditionFailed 412001)");
        }
    }

    #[test]
    fn a_body_of_another_format_still_gives_the_kind() {
        for (status, body, kind) in [
            (400, "", ErrorKind::BadRequest),
            (401, "", ErrorKind::Unauthorized),
            (408, "", ErrorKind::Timeout),
            (412, r#"{"Message":"changed"}"#, ErrorKind::PreconditionFailed),
            (429, "<html>", ErrorKind::Throttled),
            (500, "[1]", ErrorKind::Server),
            (502, "\"x\"", ErrorKind::BadDeviceResponse),
            (503, "{}", ErrorKind::Unavailable),
            (504, "null", ErrorKind::DeviceTimeout),
            (418, r#"{"errorCode":"x"}"#, ErrorKind::Rejected),
        ] {
            assert_eq!(parse(status, None, body).kind(), kind, "{status}");
        }
        assert_eq!(parse(404, None, "").to_string(), "status 404");
        assert_eq!(ErrorResponse::parse(404, None, None, b"\xff").to_string(), "status 404");
        let plain = parse(429, None, r#"{"Message":"ErrorCode:ThrottlingException;slow"}"#);
        assert_eq!(plain.to_string(), "slow (ThrottlingException 429001)");
    }

    #[test]
    fn codes_decide_before_the_status() {
        for (status, code, kind) in [
            (400, 400_027, ErrorKind::TakenOver),
            (403, 403_004, ErrorKind::QuotaExceeded),
            (403, 403_006, ErrorKind::QuotaExceeded),
            (403, 403_000, ErrorKind::Unauthorized),
            (412, 412_002, ErrorKind::LockLost),
            (413, 413_003, ErrorKind::QuotaExceeded),
            (413, 413_101, ErrorKind::QuotaExceeded),
            (413, 413_001, ErrorKind::TooLarge),
        ] {
            let body = format!(r#"{{"errorCode":{code}}}"#);
            assert_eq!(parse(status, None, &body).kind(), kind, "{code}");
        }
    }
}
