//! Lists in pages: the headers `x-ms-max-item-count` and `x-ms-continuation`.
//!
//! A token contains where the next page starts. It is opaque to clients, but not secret: whoever may list may list from
//! anywhere.

use axum::http::{HeaderName, HeaderValue};
use data_encoding::BASE64URL_NOPAD;
use ferrohub_model::{ErrorCode, HubError};

use super::request::RestRequest;

/// In a request, where the page starts; in a response, where the next one does. The last page has none.
pub(super) const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const MAX_ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");

/// Returns the token of a page that starts after the item with this key.
pub(super) fn continuation_token(key: &str) -> HeaderValue {
    // The alphabet of base64 is valid in a header.
    HeaderValue::from_str(&BASE64URL_NOPAD.encode(key.as_bytes())).unwrap_or(HeaderValue::from_static(""))
}

/// Returns the error for a token that this hub did not return.
pub(super) fn bad_continuation() -> HubError {
    HubError::new(
        ErrorCode::ArgumentInvalid,
        "x-ms-continuation must be the value of that header in the response with the previous page.",
    )
}

impl RestRequest {
    /// Returns the request's continuation token, or `None` for the first page.
    pub(super) fn continuation_token(&self) -> Result<Option<&str>, HubError> {
        // Some clients send an empty token for the first page.
        let token = self.headers().get(CONTINUATION).filter(|token| !token.is_empty());
        token.map(|token| token.to_str().map_err(|_| bad_continuation())).transpose()
    }

    /// Returns the key in the request's continuation token, or `None` for the first page.
    pub(super) fn continuation(&self) -> Result<Option<String>, HubError> {
        let Some(token) = self.continuation_token()? else { return Ok(None) };
        let key = BASE64URL_NOPAD.decode(token.as_bytes()).ok().and_then(|key| String::from_utf8(key).ok());
        key.map(Some).ok_or_else(bad_continuation)
    }

    /// Returns the requested number of items in a page, at most `max`; `None` if the request does not ask for pages.
    pub(super) fn page_size(&self, max: usize) -> Result<Option<usize>, HubError> {
        let Some(value) = self.headers().get(MAX_ITEM_COUNT) else { return Ok(None) };
        // A number beyond `usize` is one beyond the maximum.
        let parse = |text: &str| match text.parse() {
            Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Some(usize::MAX),
            other => other.ok(),
        };
        let size = value.to_str().ok().and_then(|text| parse(text.trim()));
        let size = size.filter(|size: &usize| *size > 0).ok_or_else(|| {
            HubError::new(ErrorCode::ArgumentInvalid, "x-ms-max-item-count must be a number of at least 1.")
        })?;
        Ok(Some(size.min(max)))
    }
}
