//! Ids of requests, for the logs of both sides.

use axum::http::{HeaderName, HeaderValue};

/// Identifies one request in the logs of both sides.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// Returns 32 random hexadecimal digits. The generator of this thread, unlike the operating system's, costs no system
/// call per request; it panics if it cannot be seeded.
pub(crate) fn random_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Returns a new request id, a GUID; random as [`random_hex`].
pub(crate) fn fresh_request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bits = rand::random::<u128>();
    let mut guid = [b'-'; 36];
    for (index, digit) in guid.iter_mut().enumerate() {
        if !matches!(index, 8 | 13 | 18 | 23) {
            *digit = DIGITS.get((bits & 0xf) as usize).copied().unwrap_or(b'0');
            bits >>= 4;
        }
    }
    HeaderValue::from_bytes(&guid).unwrap_or(HeaderValue::from_static("0"))
}
