//! Helpers to read requests and to build responses, for all operations.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, ModuleId};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::server::HttpLimits;

/// Identifies one request in the logs of both sides.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
/// The oldest API version that clients in the field use.
const OLDEST_API_VERSION: &str = "2016-11-14";

const INCOMPLETE_BODY: &str = "The connection closed before the whole body arrived.";

/// Maximum bytes that are read and discarded of a body that is too large.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// Returns 32 random hexadecimal digits. The generator of this thread, unlike the operating system's, costs no system
/// call per request; it panics if it cannot be seeded.
pub(super) fn random_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Returns a new request id, a GUID; random as [`random_hex`].
pub(super) fn fresh_request_id() -> HeaderValue {
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

/// Returns the `Authorization` header; `None` if it is missing or not visible ASCII.
pub(super) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

/// Parses the `If-Match` header.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, HubError> {
    match headers.get(header::IF_MATCH).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(IfMatch::parse(text))),
        Some(Err(_)) => Err(HubError::new(ErrorCode::ArgumentInvalid, "If-Match is not visible ASCII.")),
    }
}

/// Returns an error if `api-version` is not a date or is older than the oldest supported version. A missing version
/// means the newest, for convenience with curl.
pub(super) fn check_api_version(uri: &Uri) -> Result<(), HubError> {
    let Some(version) = query(uri, "api-version") else { return Ok(()) };
    let date = version.strip_suffix("-preview").unwrap_or(version);
    let is_date = date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(i, byte)| if matches!(i, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if is_date && date >= OLDEST_API_VERSION {
        Ok(())
    } else {
        Err(HubError::new(
            ErrorCode::InvalidProtocolVersion,
            format!("The api-version {version:?} is not supported."),
        ))
    }
}

/// Returns the raw value of a query parameter.
pub(super) fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?
        .split('&')
        .find_map(|part| part.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// Parses a device id from a path segment.
pub(super) fn device_id(text: &str) -> Result<DeviceId, HubError> {
    DeviceId::new(text).map_err(|error| {
        HubError::new(ErrorCode::ArgumentInvalid, format!("The device id is not valid: {error}."))
    })
}

/// Parses a module id from a path segment.
pub(super) fn module_id(text: &str) -> Result<ModuleId, HubError> {
    ModuleId::new(text).map_err(|error| {
        HubError::new(ErrorCode::ArgumentInvalid, format!("The module id is not valid: {error}."))
    })
}

/// The device or module that a path names.
#[derive(Deserialize)]
pub(super) struct Target {
    id: String,
    #[serde(default)]
    module: Option<String>,
}

impl Target {
    pub(super) fn identity(&self) -> Result<IdentityId, HubError> {
        let device = device_id(&self.id)?;
        match &self.module {
            None => Ok(device.into()),
            Some(module) => Ok(IdentityId::module(&device, &module_id(module)?)),
        }
    }
}

/// Reads the whole body, within the limits of size and time.
pub(super) async fn read_body<B>(body: B, limits: &HttpLimits) -> Result<Bytes, HubError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut collected = pin!(collect(body, limits.body_bytes));
    // Most bodies arrive together with the headers; these need no timer.
    if let Poll::Ready(collected) = poll_fn(|cx| Poll::Ready(collected.as_mut().poll(cx))).await {
        return collected;
    }
    match tokio::time::timeout(limits.request_timeout, collected).await {
        Ok(collected) => collected,
        Err(_) => Err(HubError::new(ErrorCode::IotHubFormatError, "The body did not arrive in time.")),
    }
}

/// Reads a body of at most `limit` bytes. The rest of a larger body is read and discarded, up to a limit: many clients
/// send the whole body before they read the response, and would only see a closed connection.
async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, HubError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut parts: Vec<Bytes> = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| HubError::new(ErrorCode::IotHubFormatError, INCOMPLETE_BODY))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
            parts.push(data);
        } else if length > limit.saturating_add(MAX_DISCARDED) {
            break;
        }
    }
    if length > limit {
        let text = format!("The body must have at most {limit} bytes.");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    // A small body arrives in one chunk, which is not copied.
    match parts.len() {
        0 | 1 => Ok(parts.pop().unwrap_or_default()),
        _ => Ok(parts.concat().into()),
    }
}

/// Reads a JSON body.
pub(super) async fn read_json<T: DeserializeOwned>(body: Body, limits: &HttpLimits) -> Result<T, HubError> {
    from_object(&read_body(body, limits).await?)
}

/// Parses a JSON object. Serde also accepts an array for a struct, which no client intends.
pub(super) fn from_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HubError> {
    let malformed = |reason: &dyn std::fmt::Display| {
        HubError::new(ErrorCode::IotHubFormatError, format!("The body is not valid: {reason}."))
    };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed(&"it is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| malformed(&error))
}

/// Builds a JSON response with status 200.
pub(super) fn json(value: &impl Serialize) -> Result<Response, HubError> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(json_bytes(bytes)),
        Err(_) => Err(HubError::new(ErrorCode::ServerError, "The response cannot be serialised.")),
    }
}

/// Builds a JSON response with status 200 and an `ETag` header. `etag` is without quotes.
pub(super) fn json_with_etag(value: &impl Serialize, etag: Option<&str>) -> Result<Response, HubError> {
    let mut response = json(value)?;
    if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_version_must_be_a_date_since_2016() {
        let check = |query: &str| check_api_version(&format!("/devices?{query}").parse().unwrap());
        for valid in
            ["", "api-version=2021-04-12", "api-version=2016-11-14", "a=b&api-version=2020-10-01-preview"]
        {
            assert!(check(valid).is_ok(), "{valid}");
        }
        for invalid in
            ["api-version=", "api-version=2015-01-01", "api-version=latest", "api-version=2021-4-12"]
        {
            assert_eq!(check(invalid).unwrap_err().code, ErrorCode::InvalidProtocolVersion, "{invalid}");
        }
    }
}
