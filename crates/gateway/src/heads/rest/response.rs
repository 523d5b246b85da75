//! Builds responses.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferrohub_model::{ErrorCode, HubError};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::http::{REQUEST_ID, fresh_request_id};

/// Builds a JSON response with status 200.
pub(super) fn json(value: &impl Serialize) -> Result<Response, HubError> {
    serde_json::to_vec(value).map(json_bytes).map_err(|_| not_serialised())
}

/// As [`json`], for a value that may have megabytes: it is serialised and dropped on a thread that may block.
pub(super) async fn large_json<T: Send + 'static>(
    value: T,
    to_json: impl FnOnce(&T) -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, HubError> {
    let bytes = spawn_blocking(move || to_json(&value)).await.map_err(|_| not_serialised())?;
    bytes.map(json_bytes).map_err(|_| not_serialised())
}

fn not_serialised() -> HubError {
    HubError::new(ErrorCode::ServerError, "The response cannot be serialised.")
}

/// Builds a JSON response with status 200 and an `ETag` header. `etag` is without quotes.
pub(super) fn json_with_etag(value: &impl Serialize, etag: Option<&str>) -> Result<Response, HubError> {
    let mut response = json(value)?;
    if let Some(etag) = etag.and_then(etag_header) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Returns the value of the header `ETag`. `etag` is without quotes.
pub(super) fn etag_header(etag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{etag}\"")).ok()
}

/// Builds a response with status 204.
pub(super) fn no_content() -> Response {
    (StatusCode::NO_CONTENT, [(REQUEST_ID, fresh_request_id())]).into_response()
}

/// Builds a response with status 200 from JSON text.
pub(super) fn json_bytes(bytes: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
        (REQUEST_ID, fresh_request_id()),
    ];
    (headers, bytes).into_response()
}
