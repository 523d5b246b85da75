//! `GET /$iothub/websocket`: MQTT in binary WebSocket frames, for devices that can only use port 443.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, Bytes};
use ferrohub_core::Hub;
use ferrohub_model::{ErrorCode, HubError};
use futures_util::{Sink as _, Stream as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::debug;

use super::connection::HttpConnection;
use super::error::{ApiError, registry_error};
use crate::listener::ConnectionSlot;
use crate::mqtt::{self, MqttLimits};
use crate::peer::Peer;

const SUBPROTOCOL: &str = "mqtt";
/// Maximum size of a frame: fits the largest MQTT packet.
const MAX_FRAME: usize = 512 * 1024;
/// Time-out for the peer's Close. Without waiting, the peer's Close arrives at a closed socket, which terminates the
/// network thread of Microsoft's Python client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn upgrade(
    Extension(connection): Extension<HttpConnection>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let accept = accept_key(request.headers()).map_err(registry_error)?;
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(registry_error(invalid_argument("The connection cannot be upgraded to WebSocket.")));
    };
    connection.set_upgrade(upgrade);
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

/// Serves a device on a connection that was upgraded to WebSocket.
pub(super) async fn serve(
    upgrade: OnUpgrade,
    peer: Peer,
    hub: Arc<Hub>,
    limits: MqttLimits,
    slot: ConnectionSlot,
) {
    let peer = Peer { protocol: "mqtt-ws", ..peer };
    match upgrade.await {
        Ok(upgraded) => {
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_FRAME))
                .max_frame_size(Some(MAX_FRAME))
                .read_buffer_size(4 * 1024)
                .write_buffer_size(0)
                .max_write_buffer_size(2 * MAX_FRAME);
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            mqtt::serve(
                WebSocketIo { socket, input: Bytes::new(), close_deadline: None },
                peer,
                hub,
                limits,
                slot,
            )
            .await;
        }
        Err(error) => debug!(peer = %peer.address, %error, "WebSocket upgrade failed"),
    }
}

fn invalid_argument(text: &'static str) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, HubError> {
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
    if !has(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(invalid_argument("Only the WebSocket subprotocol mqtt is supported."));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| invalid_argument("Sec-WebSocket-Key is missing."))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| invalid_argument("Sec-WebSocket-Key is malformed."))
}

/// The contents of binary frames as a byte stream. Frame boundaries need not be packet boundaries.
struct WebSocketIo<S> {
    socket: WebSocketStream<S>,
    input: Bytes,
    /// Deadline for the peer's Close. Set once the hub's Close is sent.
    close_deadline: Option<Pin<Box<Sleep>>>,
}

fn io_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.input.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.input = bytes,
                // The socket answers pings itself with the next write.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => return Poll::Ready(Err(io_error("only binary frames carry MQTT"))),
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let length = self.input.len().min(buffer.remaining());
        if let Some(chunk) = self.input.get(..length) {
            buffer.put_slice(chunk);
        }
        self.input.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io_error)?;
        let chunk = bytes.get(..bytes.len().min(MAX_FRAME)).unwrap_or(bytes);
        Pin::new(&mut self.socket)
            .start_send(Message::Binary(Bytes::copy_from_slice(chunk)))
            .map_err(io_error)?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, close_deadline, .. } = &mut *self;
        let close_deadline = match close_deadline {
            Some(close_deadline) => close_deadline,
            none => {
                ready!(Pin::new(&mut *socket).poll_close(cx)).map_err(io_error)?;
                none.insert(Box::pin(sleep(CLOSE_TIMEOUT)))
            }
        };
        // Discard all other messages of the peer until its Close or the end of the stream.
        while close_deadline.as_mut().poll(cx).is_pending() {
            match ready!(Pin::new(&mut *socket).poll_next(cx)) {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}
