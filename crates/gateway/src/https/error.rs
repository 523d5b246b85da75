//! Error responses of the REST API: the only place that builds the status, headers and body of an error.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrohub_model::{HubError, Timestamp};
use serde_json::{Map, Value, json};

use super::request::random_hex;

/// The challenge of a response with status 401 (RFC 9110, 11.6.1): the scheme of the tokens that the hub accepts.
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("SharedAccessSignature");

/// The two formats of error bodies that Azure's clients parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorFormat {
    /// `{"Message":"ErrorCode:Name;text","ExceptionMessage":"Tracking ID:…"}`: the registry and most other operations.
    Registry,
    /// `{"Message":"{…JSON as text…}","ExceptionMessage":""}`: methods and twins.
    Nested,
}

/// An error response.
#[derive(Debug)]
pub(super) struct ApiError {
    error: HubError,
    format: ErrorFormat,
}

impl ApiError {
    pub(super) fn new(error: HubError, format: ErrorFormat) -> Self {
        Self { error, format }
    }
}

/// For `map_err`: an error in the registry format.
pub(super) fn registry_error(error: HubError) -> ApiError {
    ApiError::new(error, ErrorFormat::Registry)
}

/// For `map_err`: an error in the nested format of methods and twins.
pub(super) fn nested_error(error: HubError) -> ApiError {
    ApiError::new(error, ErrorFormat::Nested)
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn tracking_id(now: Timestamp) -> String {
    format!("{}-G:0-TimeStamp:{}", random_hex(), now.to_tracking_id_format())
}

/// Returns `{"errorCode":…,"trackingId":…,"message":…}`: [`ErrorFormat::Nested`] contains it as text, and MQTT twin
/// responses contain it as JSON.
pub(crate) fn error_details(error: &HubError) -> Value {
    let now = now();
    let info = error.timeout_seconds.map(|seconds| {
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        json!({ "timeout": format!("{hours:02}:{minutes:02}:{seconds:02}") })
    });
    json!({
        "errorCode": error.code.number(),
        "trackingId": tracking_id(now),
        "message": error.message,
        "info": info.unwrap_or(Value::Object(Map::new())),
        "timestampUtc": now,
    })
}

fn body(error: &HubError, format: ErrorFormat) -> Value {
    match format {
        ErrorFormat::Registry => json!({
            "Message": format!("ErrorCode:{};{}", error.code.name(), error.message),
            "ExceptionMessage": format!("Tracking ID:{}", tracking_id(now())),
        }),
        ErrorFormat::Nested => json!({ "Message": error_details(error).to_string(), "ExceptionMessage": "" }),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
            (
                header::HeaderName::from_static("iothub-errorcode"),
                HeaderValue::from_static(self.error.code.name()),
            ),
            (super::request::REQUEST_ID, super::request::fresh_request_id()),
        ];
        let mut response = (status, headers, body(&self.error, self.format).to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrohub_model::ErrorCode;

    #[test]
    fn both_formats_are_as_azure_clients_parse_them() {
        let error = HubError::new(ErrorCode::DeviceNotOnline, "Timed out waiting for device to connect.")
            .with_timeout_seconds(65);
        let registry = body(&error, ErrorFormat::Registry);
        assert_eq!(registry["Message"], "ErrorCode:DeviceNotOnline;Timed out waiting for device to connect.");
        assert!(registry["ExceptionMessage"].as_str().unwrap().starts_with("Tracking ID:"));
        let nested = body(&error, ErrorFormat::Nested);
        assert_eq!(nested["ExceptionMessage"], "");
        let inner: Value = serde_json::from_str(nested["Message"].as_str().unwrap()).unwrap();
        assert_eq!(inner["errorCode"], 404_103);
        assert_eq!(inner["info"]["timeout"], "00:01:05");
        let tracking = inner["trackingId"].as_str().unwrap();
        assert!(
            tracking.chars().take(32).all(|c| c.is_ascii_hexdigit()) && tracking.contains("-G:0-TimeStamp:")
        );
    }
}
