//! The body of a request. What a handler does not read is read and discarded while the response is sent.
//!
//! Many clients send the whole body before they read the response. Without this, they would see a reset stream (HTTP/2)
//! or a closed connection (HTTP/1.1) instead of the error. After the limits the stream is reset with `NO_ERROR`
//! (RFC 9113, 8.1), or the connection is closed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connection::HttpConnection;

/// Maximum bytes that are discarded of one body.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;
/// Discarding ends when the client sends nothing for this time: long enough for the response to arrive.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A request body that is discarded in the background if it is dropped before its end.
pub(crate) struct RequestBody {
    /// `None` after the end of the body.
    body: Option<Incoming>,
    /// Whether the client sends the body only after a `100 Continue`, which has not been sent.
    awaits_continue: bool,
    /// Maximum time for discarding the rest.
    discard_timeout: Duration,
    connection: HttpConnection,
}

impl RequestBody {
    /// Wraps the body of the request with these headers. The rest is discarded for at most `discard_timeout`.
    pub(crate) fn new(
        body: Incoming,
        headers: &HeaderMap,
        discard_timeout: Duration,
        connection: HttpConnection,
    ) -> Self {
        let body = Some(body).filter(|body| !body.is_end_stream());
        let awaits_continue = body.is_some() && headers.contains_key(header::EXPECT);
        Self { body, awaits_continue, discard_timeout, connection }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.awaits_continue = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !self.awaits_continue
            && let Ok(runtime) = Handle::try_current()
            && let Some(permit) = self.connection.discard_permit()
        {
            let discard_timeout = self.discard_timeout;
            // The task ends with the connection: the body then returns an error.
            runtime.spawn(async move {
                let _ = timeout(discard_timeout, discard(body)).await;
                drop(permit);
            });
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut discarded = 0;
    while discarded <= MAX_DISCARDED
        && let Ok(Some(Ok(frame))) = timeout(IDLE_TIMEOUT, body.frame()).await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}
