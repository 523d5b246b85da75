//! A stream of method calls.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::MethodRequest;

/// A stream of method calls without a handler, in the order in which they arrived; from
/// [`DeviceClient::method_requests`](crate::DeviceClient::method_requests).
///
/// Calls that end while they are queued are skipped. The stream stays open across connections. It ends when the client
/// is dropped, or when `method_requests` is called again.
#[derive(Debug)]
pub struct MethodRequestStream {
    receiver: mpsc::Receiver<MethodRequest>,
}

impl MethodRequestStream {
    pub(super) fn new(receiver: mpsc::Receiver<MethodRequest>) -> Self {
        Self { receiver }
    }

    /// Waits for the next call. Returns `None` when the stream has ended. The same as `StreamExt::next`, without the
    /// trait.
    pub async fn next(&mut self) -> Option<MethodRequest> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<MethodRequest>> {
        loop {
            match ready!(self.receiver.poll_recv(cx)) {
                Some(request) if !request.is_pending() => {}
                next => return Poll::Ready(next),
            }
        }
    }
}

impl Stream for MethodRequestStream {
    type Item = MethodRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<MethodRequest>> {
        self.poll(cx)
    }
}
