//! Upgrades an HTTP/1.1 connection to WebSocket (RFC 6455, 4.2).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_model::{ErrorCode, HubError};
use hyper::Request;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use ring::digest;

use super::HttpConnection;

/// Appended to the key of the client (RFC 6455, 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Accepts the upgrade to WebSocket with this subprotocol, which the client must offer. The connection is upgraded once
/// the response is written.
pub(crate) fn accept_upgrade(
    connection: &HttpConnection,
    request: &mut Request<Incoming>,
    subprotocol: &'static str,
) -> Result<Response, HubError> {
    let accept = accept_key(request.headers(), subprotocol)?;
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(invalid_argument("The connection cannot be upgraded to WebSocket."));
    };
    connection.set_upgrade(upgrade);
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

fn invalid_argument(text: &'static str) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

fn accept_key(headers: &HeaderMap, subprotocol: &str) -> Result<HeaderValue, HubError> {
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(invalid_argument("This path needs a WebSocket upgrade (Upgrade: websocket)."));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(invalid_argument("Only WebSocket version 13 is supported."));
    }
    if !has(header::SEC_WEBSOCKET_PROTOCOL, subprotocol) {
        let text = format!("Only the WebSocket subprotocol {subprotocol} is supported.");
        return Err(HubError::new(ErrorCode::ArgumentInvalid, text));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| invalid_argument("Sec-WebSocket-Key is missing."))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| invalid_argument("Sec-WebSocket-Key is malformed."))
}

/// Returns `Sec-WebSocket-Accept` for a key (RFC 6455, 4.2.2).
fn derive_accept_key(key: &[u8]) -> String {
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(key);
    sha1.update(KEY_SUFFIX);
    STANDARD.encode(sha1.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_specification() {
        assert_eq!(derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
