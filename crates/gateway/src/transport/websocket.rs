//! The contents of binary WebSocket frames as a byte stream.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ferrohub_mqtt::websocket::{self, FrameDecoder, FrameEnd, FrameError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Maximum payload of a frame that is sent: fits the largest MQTT packet and several AMQP frames.
const MAX_FRAME: usize = 512 * 1024;
/// Time-out for the peer's Close. Without waiting, the peer's Close arrives at a closed socket, which terminates the
/// network thread of Microsoft's Python client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Size of the buffer for what is discarded before the peer's Close.
const DISCARD_BUFFER: usize = 1024;

/// Returns a fixed word for log and metrics, and what to do.
pub(crate) fn explain(error: FrameError) -> (&'static str, &'static str) {
    match error {
        FrameError::Text => {
            ("websocket_text_frame", "send MQTT packets and AMQP frames in binary frames (MQTT-6.0.0-1)")
        }
        _ => ("websocket_error", "use a WebSocket client that follows RFC 6455"),
    }
}

/// The server side of a WebSocket connection over `S`.
pub(crate) struct WebSocketIo<S> {
    stream: S,
    decoder: FrameDecoder,
    /// Frames that the stream has not accepted yet.
    sending: Vec<u8>,
    close_sent: bool,
    /// Deadline for the peer's Close. Set once the hub's Close is sent.
    close_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketIo<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::default(),
            sending: Vec::new(),
            close_sent: false,
            close_deadline: None,
        }
    }

    /// Reads from the stream once, into `buffer`, and decodes. Returns the number of payload bytes at the beginning of
    /// `buffer`, or `None` at the end of the stream.
    fn poll_decode(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Option<usize>>> {
        let mut received = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut received))?;
        let received = received.filled_mut();
        if received.is_empty() {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(self.decoder.decode(received))))
    }

    /// Writes the pending frames and the answer to a Ping.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.sending.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.sending))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    all if all == self.sending.len() => self.sending = Vec::new(),
                    some => drop(self.sending.drain(..some)),
                }
            }
            match self.decoder.take_ping() {
                Some(payload) if !self.close_sent => websocket::encode_pong(&payload, &mut self.sending),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    fn send_close(&mut self, code: Option<u16>) {
        if !mem::replace(&mut self.close_sent, true) {
            websocket::encode_close(code, &mut self.sending);
        }
    }
}

/// Returns the status code of the answer to a Close frame. Some codes must not be sent (RFC 6455, 7.4).
fn close_answer(code: Option<u16>) -> Option<u16> {
    const PROTOCOL_ERROR: u16 = 1002;
    code.map(|code| match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => code,
        _ => PROTOCOL_ERROR,
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.decoder.end() {
                Some(FrameEnd::Error(error)) => {
                    this.send_close(Some(error.close_code()));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
                Some(FrameEnd::Close(code)) => {
                    this.send_close(close_answer(code));
                    return Poll::Ready(Ok(()));
                }
                None => {}
            }
            let decoded = this.poll_decode(cx, buffer.initialize_unfilled());
            // A Ping is answered at once if the stream accepts it, otherwise with the next write.
            // An error shows again there: what the peer sent before it closed is still read.
            let _ = this.poll_send(cx);
            match ready!(decoded)? {
                None => return Poll::Ready(Ok(())),
                Some(0) => {}
                Some(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        if self.close_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let chunk = bytes.get(..MAX_FRAME).unwrap_or(bytes);
        websocket::encode_binary(chunk, &mut self.sending);
        // The frame counts as written; what the stream does not accept is kept.
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(chunk.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send_close(None);
        ready!(self.as_mut().poll_flush(cx))?;
        let this = &mut *self;
        let deadline = this.close_deadline.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIMEOUT)));
        let mut is_due = deadline.as_mut().poll(cx).is_ready();
        // Discard everything until the peer's Close or the end of the stream.
        let mut discarded = [0; DISCARD_BUFFER];
        while !is_due && this.decoder.end().is_none() {
            match ready!(this.poll_decode(cx, &mut discarded)) {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => is_due = true,
            }
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
