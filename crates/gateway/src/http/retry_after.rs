//! The header `Retry-After` (RFC 9110, 10.2.3) of responses to requests that may succeed later.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// Seconds after which a client may repeat a request: long enough for a reader or a transfer to end, and for a hub to start.
const SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Sets the header of a response with status 429 or 503. Other responses stay as they are.
pub(crate) fn set_retry_after(response: &mut Response) {
    if matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(header::RETRY_AFTER, SECONDS);
    }
}
