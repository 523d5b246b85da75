//! The queue of outgoing events. Its limits include the events that are sent and not acknowledged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferrohub_mqtt::{QoS, Utf8};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};

/// What happens to events that cannot be sent at once.
///
/// With either policy, an event that was not acknowledged before the connection was lost may have reached the hub.
/// Readers can detect duplicates by the [message id](crate::Event::message_id).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfflinePolicy {
    /// Events are queued in memory, in order, until the client has reconnected. Unacknowledged events are sent again,
    /// marked as duplicates. When the queue (with the unacknowledged events) is full, further events are refused with
    /// [`ErrorKind::QueueFull`].
    ///
    /// The default, with 1024 events and 8 MiB. Made by [`OfflinePolicy::queue`].
    #[non_exhaustive]
    Queue {
        /// The most events, at least 1.
        max_messages: usize,
        /// The most bytes of bodies and properties, at least 320 KiB: the largest event.
        max_bytes: usize,
    },
    /// Events are refused with [`ErrorKind::Offline`] while there is no connection. Unacknowledged events fail with
    /// [`ErrorKind::Connection`] when the connection is lost. While there is a connection, the default limits apply.
    Fail,
}

impl OfflinePolicy {
    const MAX_MESSAGES: usize = 1024;
    const MAX_BYTES: usize = 8 * 1024 * 1024;
    /// Space for any one event: its body, and the longest topic.
    pub(crate) const MIN_BYTES: usize = 320 * 1024;

    /// A queue with these limits: at least 1 event and 320 KiB.
    #[must_use]
    pub fn queue(max_messages: usize, max_bytes: usize) -> Self {
        Self::Queue { max_messages, max_bytes }
    }

    fn limits(&self) -> (usize, usize) {
        match *self {
            Self::Queue { max_messages, max_bytes } => (max_messages, max_bytes),
            Self::Fail => (Self::MAX_MESSAGES, Self::MAX_BYTES),
        }
    }
}

impl Default for OfflinePolicy {
    fn default() -> Self {
        Self::Queue { max_messages: Self::MAX_MESSAGES, max_bytes: Self::MAX_BYTES }
    }
}

/// Receives the outcome of an event: acknowledged, or the error.
pub(crate) type DeliverySender = oneshot::Sender<Result<(), Error>>;

pub(crate) struct QueuedEvent {
    pub(crate) topic: Utf8,
    pub(crate) qos: QoS,
    pub(crate) body: Bytes,
    pub(crate) delivered: DeliverySender,
}

impl QueuedEvent {
    fn bytes(&self) -> usize {
        self.topic.len() + self.body.len()
    }
}

/// The space of an event in the queue, until it is acknowledged.
pub(crate) struct QueueSlot {
    queue: Arc<EventQueue>,
    bytes: usize,
}

pub(crate) struct EventQueue {
    policy: OfflinePolicy,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether a task runs that sends the events.
    open: bool,
    connected: bool,
    queued: VecDeque<QueuedEvent>,
    /// Including unacknowledged events.
    messages: usize,
    bytes: usize,
}

impl EventQueue {
    pub(crate) fn new(policy: OfflinePolicy) -> Self {
        Self { policy, state: Mutex::default() }
    }

    pub(crate) fn fails_offline(&self) -> bool {
        self.policy == OfflinePolicy::Fail
    }

    /// A task has started.
    pub(crate) fn open(&self) {
        self.lock().open = true;
    }

    /// Refuses further events; queued events are still sent.
    pub(crate) fn drain(&self) {
        self.lock().open = false;
    }

    /// The task has ended: queued events fail.
    pub(crate) fn close(&self, error: &Error) {
        let mut state = self.lock();
        (state.open, state.connected) = (false, false);
        Self::fail_queued(state, error);
    }

    pub(crate) fn connected(&self) {
        self.lock().connected = true;
    }

    pub(crate) fn disconnected(&self, error: &Error) {
        let mut state = self.lock();
        state.connected = false;
        if self.fails_offline() {
            Self::fail_queued(state, error);
        }
    }

    fn fail_queued(mut state: MutexGuard<'_, State>, error: &Error) {
        let queued = std::mem::take(&mut state.queued);
        for event in &queued {
            state.messages -= 1;
            state.bytes -= event.bytes();
        }
        drop(state);
        for event in queued {
            // Fails if the caller has dropped its future.
            let _ = event.delivered.send(Err(error.clone()));
        }
    }

    pub(crate) fn push(&self, event: QueuedEvent) -> Result<(), Error> {
        let (max_messages, max_bytes) = self.policy.limits();
        let mut state = self.lock();
        if !state.open {
            return Err(Error::closed());
        }
        if self.fails_offline() && !state.connected {
            return Err(Error::new(ErrorKind::Offline, "there is no connection to the hub"));
        }
        let (messages, bytes) = (state.messages + 1, state.bytes + event.bytes());
        if messages > max_messages || bytes > max_bytes {
            let message = format!(
                "the event queue is full: {} events with {} bytes; at most {max_messages} with {max_bytes} are allowed",
                state.messages, state.bytes
            );
            return Err(Error::new(ErrorKind::QueueFull, message));
        }
        (state.messages, state.bytes) = (messages, bytes);
        state.queued.push_back(event);
        Ok(())
    }

    /// Removes the next event to send. It occupies its space until the slot is dropped.
    pub(crate) fn pop(self: &Arc<Self>) -> Option<(QueuedEvent, QueueSlot)> {
        let event = self.lock().queued.pop_front()?;
        let slot = QueueSlot { queue: self.clone(), bytes: event.bytes() };
        Some((event, slot))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().queued.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.messages -= 1;
        state.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> (QueuedEvent, oneshot::Receiver<Result<(), Error>>) {
        let (delivered, receiver) = oneshot::channel();
        let topic = Utf8::try_from("t").unwrap();
        (QueuedEvent { topic, qos: QoS::AtLeastOnce, body: vec![0; bytes - 1].into(), delivered }, receiver)
    }

    #[test]
    fn the_limits_include_events_in_flight() {
        let queue = Arc::new(EventQueue::new(OfflinePolicy::Queue { max_messages: 3, max_bytes: 100 }));
        let push = |bytes| queue.push(event(bytes).0).map_err(|error| error.kind());
        assert_eq!(push(1), Err(ErrorKind::Closed));
        queue.open();
        assert_eq!((push(40), push(60), push(1)), (Ok(()), Ok(()), Err(ErrorKind::QueueFull)));
        let (_, first) = queue.pop().unwrap();
        assert_eq!(push(1), Err(ErrorKind::QueueFull));
        drop(first);
        assert_eq!((push(20), push(20), push(1)), (Ok(()), Ok(()), Err(ErrorKind::QueueFull)));
    }

    #[test]
    fn closing_fails_queued_events() {
        let queue = Arc::new(EventQueue::new(OfflinePolicy::default()));
        queue.open();
        let (waiting, mut outcome) = event(1);
        queue.push(waiting).unwrap();
        queue.close(&Error::closed());
        assert_eq!(outcome.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        queue.open();
        let state = queue.lock();
        assert_eq!((state.messages, state.bytes), (0, 0));
    }

    #[test]
    fn without_a_queue_events_fail_offline() {
        let queue = Arc::new(EventQueue::new(OfflinePolicy::Fail));
        queue.open();
        assert_eq!(queue.push(event(1).0).unwrap_err().kind(), ErrorKind::Offline);
        queue.connected();
        let (waiting, mut outcome) = event(1);
        queue.push(waiting).unwrap();
        queue.disconnected(&Error::new(ErrorKind::Connection, "gone"));
        assert_eq!(outcome.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Connection);
    }
}
