//! Ids of requests, for the logs of both sides.

use axum::http::{HeaderName, HeaderValue};
use ferrohub_model::Guid;

/// Identifies one request in the logs of both sides.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// Returns 32 random hexadecimal digits. The generator of this thread, unlike the operating system's, costs no system
/// call per request; it panics if it cannot be seeded.
pub(crate) fn random_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Returns a new request id, a GUID; random as [`random_hex`].
pub(crate) fn fresh_request_id() -> HeaderValue {
    HeaderValue::from_bytes(&Guid(rand::random()).encode()).unwrap_or(HeaderValue::from_static("0"))
}
