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

/// What is spoken over WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// MQTT 3.1.1, chapter 6.
    Mqtt,
    /// AMQP 1.0 over WebSocket (OASIS committee specification draft 01).
    Amqp,
}

impl Subprotocol {
    fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Amqp => "AMQPWSB10",
        }
    }
}

/// Accepts the upgrade to WebSocket with the first subprotocol that the client offers and the path has. The connection is
/// upgraded once the response is written.
pub(crate) fn accept_upgrade(
    connection: &HttpConnection,
    request: &mut Request<Incoming>,
    supported: &[Subprotocol],
) -> Result<Response, HubError> {
    let accept = accept_key(request.headers())?;
    let subprotocol = find_subprotocol(request.headers(), supported)?;
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(invalid_argument("The connection cannot be upgraded to WebSocket."));
    };
    connection.set_upgrade(upgrade, subprotocol);
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol.name())),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

fn invalid_argument(text: &'static str) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

/// Returns the words of a header that is a list.
fn words(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn find_subprotocol(headers: &HeaderMap, supported: &[Subprotocol]) -> Result<Subprotocol, HubError> {
    let find = |offered: &str| {
        supported.iter().copied().find(|subprotocol| subprotocol.name().eq_ignore_ascii_case(offered))
    };
    words(headers, header::SEC_WEBSOCKET_PROTOCOL).find_map(find).ok_or_else(|| {
        let names: Vec<&str> = supported.iter().map(|subprotocol| subprotocol.name()).collect();
        let text = format!("Only the WebSocket subprotocol {} is supported.", names.join(" or "));
        HubError::new(ErrorCode::ArgumentInvalid, text)
    })
}

fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, HubError> {
    let has = |name, word: &str| words(headers, name).any(|value| value.eq_ignore_ascii_case(word));
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(invalid_argument("This path needs a WebSocket upgrade (Upgrade: websocket)."));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(invalid_argument("Only WebSocket version 13 is supported."));
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
    fn the_first_offered_subprotocol_that_the_path_has_is_chosen() {
        let both = [Subprotocol::Mqtt, Subprotocol::Amqp];
        for (offered, supported, expected) in [
            (&["mqtt"][..], &both[..], Some(Subprotocol::Mqtt)),
            (&["AMQPWSB10"], &both, Some(Subprotocol::Amqp)),
            (&["amqpwsb10 , mqtt"], &both, Some(Subprotocol::Amqp)),
            (&["x", "MQTT, AMQPWSB10"], &both, Some(Subprotocol::Mqtt)),
            (&["mqtt, AMQPWSB10"], &[Subprotocol::Amqp], Some(Subprotocol::Amqp)),
            (&["mqtt"], &[Subprotocol::Amqp], None),
            (&["mqttv3.1"], &both, None),
            (&[], &both, None),
        ] {
            let mut headers = HeaderMap::new();
            for value in offered {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
            }
            assert_eq!(find_subprotocol(&headers, supported).ok(), expected, "{offered:?}");
        }
    }

    #[test]
    fn the_accept_key_is_that_of_the_specification() {
        assert_eq!(derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
