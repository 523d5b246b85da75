//! MQTT in a WebSocket (MQTT 6): binary messages whose boundaries carry no meaning.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{BoxStream, ByteStream, stream_error};
use crate::error::{Error, ErrorKind};

const PATH: &str = "/$iothub/websocket";
const SUBPROTOCOL: &str = "mqtt";
/// Larger than the largest MQTT packet of a hub; a server may put several packets in one message.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Performs the WebSocket handshake on a TLS stream.
pub(super) async fn open<S: ByteStream + 'static>(authority: &str, stream: S) -> Result<BoxStream, Error> {
    let mut request = format!("wss://{authority}{PATH}")
        .into_client_request()
        .map_err(|error| Error::invalid_input("the host name is not valid in a URL").with_source(error))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((inner, _)) => Ok(Box::new(WebSocket { inner, input: Bytes::new() })),
        Err(tungstenite::Error::Io(error)) => Err(stream_error(error, "the WebSocket handshake failed")),
        Err(error) => {
            let message = format!("the WebSocket handshake failed: {error}");
            Err(Error::new(ErrorKind::Protocol, message).with_source(error))
        }
    }
}

/// A byte stream over WebSocket messages.
struct WebSocket<S> {
    inner: WebSocketStream<S>,
    /// The unread rest of the last message.
    input: Bytes,
}

impl<S: ByteStream> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.input.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.input = bytes,
                // The WebSocket library answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "a text message (MQTT-6.0.0-1)");
                    return Poll::Ready(Err(error));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let count = self.input.len().min(buf.remaining());
        buf.put_slice(&self.input.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: ByteStream> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.inner).poll_ready(cx)).map_err(io_error)?;
        let message = Message::Binary(buf.copy_to_bytes(buf.len().min(MAX_MESSAGE)));
        let count = message.len();
        Pin::new(&mut self.inner).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(io_error)
    }
}

fn io_error(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            io::Error::new(io::ErrorKind::ConnectionReset, error)
        }
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
