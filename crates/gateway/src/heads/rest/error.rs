//! Error responses of the REST API: the only place that builds the status, headers and body of an error.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrohub_model::HubError;
use serde_json::{Value, json};

use crate::error_details::{error_details, tracking_id};
use crate::http::{CHALLENGE, REQUEST_ID, fresh_request_id, set_retry_after};

/// The two formats of error bodies that Azure's clients parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// `{"Message":"ErrorCode:Name;text","ExceptionMessage":"Tracking ID:…"}`: the registry and most other operations.
    Registry,
    /// `{"Message":"{…JSON as text…}","ExceptionMessage":""}`: methods and twins.
    Nested,
}

/// An error response.
#[derive(Debug)]
pub(crate) struct ApiError {
    error: HubError,
    format: ErrorFormat,
}

impl ApiError {
    pub(crate) fn new(error: HubError, format: ErrorFormat) -> Self {
        Self { error, format }
    }
}

fn body(error: &HubError, format: ErrorFormat) -> Value {
    match format {
        ErrorFormat::Registry => json!({
            "Message": format!("ErrorCode:{};{}", error.code.name(), error.message),
            "ExceptionMessage": format!("Tracking ID:{}", tracking_id()),
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
            (REQUEST_ID, fresh_request_id()),
        ];
        let mut response = (status, headers, body(&self.error, self.format).to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        set_retry_after(&mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrohub_model::ErrorCode;

    #[test]
    fn every_error_that_passes_says_when_to_retry_and_no_other_does() {
        for code in ErrorCode::ALL {
            let response = ApiError::new(HubError::new(*code, ""), ErrorFormat::Registry).into_response();
            let retries = matches!(response.status().as_u16(), 429 | 503);
            let header = response.headers().get(header::RETRY_AFTER);
            assert_eq!(header.map(HeaderValue::as_bytes), retries.then_some(b"5".as_slice()), "{code}");
        }
    }

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
