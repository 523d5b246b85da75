//! The open calls of one connection, and the responses that wait for their PUBACK.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ferrohub_mqtt::PacketId;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::methods::PendingResponse;

type Acknowledged = oneshot::Sender<Result<(), Error>>;

#[derive(Default)]
pub(super) struct Calls {
    open: FuturesUnordered<Call>,
    /// The senders that report a PUBACK to the application.
    unacknowledged: HashMap<PacketId, Acknowledged>,
    /// The number of all calls so far.
    total: u64,
}

/// An open call. It finishes when it is answered, or when its request is dropped.
struct Call {
    request_id: String,
    name: String,
    response: oneshot::Receiver<PendingResponse>,
}

/// A finished call.
pub(super) struct FinishedCall {
    pub(super) request_id: String,
    pub(super) name: String,
    /// `None` if the request was dropped or the handler panicked.
    pub(super) response: Option<PendingResponse>,
}

impl Calls {
    pub(super) fn insert(
        &mut self,
        request_id: String,
        name: String,
        response: oneshot::Receiver<PendingResponse>,
    ) {
        self.total += 1;
        self.open.push(Call { request_id, name, response });
    }

    pub(super) fn contains(&self, request_id: &str) -> bool {
        self.open.iter().any(|call| call.request_id == request_id)
    }

    /// Returns the number of all calls so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The responses that the hub has not acknowledged.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = PacketId> {
        self.unacknowledged.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Waits for the next finished call. Returns `None` if there are no open calls.
    pub(super) async fn next(&mut self) -> Option<FinishedCall> {
        self.open.next().await
    }

    /// Drops all open calls, because the hub has ended them. A later response fails with `CallEnded`.
    pub(super) fn cancel_all(&mut self) {
        self.open = FuturesUnordered::new();
    }

    pub(super) fn response_sent(&mut self, packet_id: PacketId, acknowledged: Acknowledged) {
        self.unacknowledged.insert(packet_id, acknowledged);
    }

    pub(super) fn acknowledge(&mut self, packet_id: PacketId) {
        if let Some(acknowledged) = self.unacknowledged.remove(&packet_id) {
            // Fails for handlers, which do not wait for it.
            let _ = acknowledged.send(Ok(()));
        }
    }

    /// Fails the responses in flight. They are not sent again, because their calls have ended.
    pub(super) fn fail_unacknowledged(&mut self) {
        for (_, acknowledged) in self.unacknowledged.drain() {
            let _ = acknowledged.send(Err(Error::call_ended()));
        }
    }
}

impl Future for Call {
    type Output = FinishedCall;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FinishedCall> {
        let response = ready!(Pin::new(&mut self.response).poll(cx)).ok();
        let call = &mut *self;
        Poll::Ready(FinishedCall {
            request_id: std::mem::take(&mut call.request_id),
            name: std::mem::take(&mut call.name),
            response,
        })
    }
}
