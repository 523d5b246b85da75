//! Tracks the messages that the application has received and not completed, and those that wait for a PUBACK.
//!
//! A PUBACK is valid only on the connection that delivered the message: on the next one the same packet identifier may
//! belong to another message. The hub delivers unacknowledged messages again on the next connection. A message that the
//! application still has is recognised by its id and content, and not returned twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferrohub_mqtt::{PacketId, Utf8};
use tokio::sync::Notify;

use super::MessageLock;
use crate::error::{Error, ErrorKind};

/// The most unread messages; a hub has fewer in flight to one device. Further messages are dropped and delivered again.
pub(crate) const MAX_UNREAD: usize = 64;
/// The most messages that were completed after their connection ended, and are remembered until they are redelivered.
const MAX_COMPLETED_LATE: usize = 64;

pub(crate) struct UnacknowledgedMessages {
    state: Mutex<State>,
    /// Wakes the task to send PUBACK.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct State {
    next_delivery_id: u64,
    /// The messages that the application has and has not completed.
    unacknowledged: HashMap<u64, Unacknowledged>,
    /// To be acknowledged on this connection, with their keys in case it ends before.
    completed: Vec<(PacketId, Option<MessageKey>)>,
    /// Completed after their connection ended, oldest first.
    completed_late: VecDeque<MessageKey>,
}

struct Unacknowledged {
    key: Option<MessageKey>,
    /// `None` after the connection that delivered it has ended.
    packet_id: Option<PacketId>,
}

/// Recognises a redelivered message. Only for messages with an id: without one, two messages may have the same content,
/// and neither may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MessageKey {
    topic: Utf8,
    body: Bytes,
}

impl UnacknowledgedMessages {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), wake }
    }

    /// Handles a delivery. Returns `None` if the application has the message already, or has completed it.
    pub(crate) fn receive(
        self: &Arc<Self>,
        topic: &Utf8,
        body: &Bytes,
        packet_id: Option<PacketId>,
        has_id: bool,
    ) -> Option<MessageLock> {
        let Some(packet_id) = packet_id else {
            return Some(MessageLock::new(self.clone(), None));
        };
        let key = has_id.then(|| MessageKey { topic: topic.clone(), body: body.clone() });
        let mut state = self.lock();
        if key.is_some() {
            if let Some(index) = state.completed_late.iter().position(|late| Some(late) == key.as_ref()) {
                state.completed_late.remove(index);
                state.completed.push((packet_id, key));
                return None;
            }
            // A message of this connection is not redelivered on it: a sender may use an id twice.
            let mut held = state.unacknowledged.values_mut();
            let again = held.find(|held| held.packet_id.is_none() && held.key == key);
            if let Some(held) = again {
                held.packet_id = Some(packet_id);
                return None;
            }
        }
        let delivery_id = state.next_delivery_id;
        state.next_delivery_id += 1;
        state.unacknowledged.insert(delivery_id, Unacknowledged { key, packet_id: Some(packet_id) });
        Some(MessageLock::new(self.clone(), Some(delivery_id)))
    }

    /// Completes a message.
    pub(super) fn complete(&self, delivery_id: u64) -> Result<(), Error> {
        let mut state = self.lock();
        match state.unacknowledged.remove(&delivery_id) {
            Some(Unacknowledged { packet_id: Some(packet_id), key }) => {
                state.completed.push((packet_id, key));
                drop(state);
                self.wake.notify_one();
                Ok(())
            }
            Some(Unacknowledged { packet_id: None, key: Some(key) }) => {
                state.remember_completed(key);
                Ok(())
            }
            Some(Unacknowledged { packet_id: None, key: None }) | None => Err(Error::new(
                ErrorKind::LockLost,
                "the connection that delivered the message has ended: the hub delivers the message again",
            )),
        }
    }

    /// Releases a message that was dropped uncompleted: the hub delivers it again.
    pub(super) fn release(&self, delivery_id: u64) {
        let held = self.lock().unacknowledged.remove(&delivery_id);
        drop(held);
    }

    /// Takes the packet identifiers to acknowledge.
    pub(crate) fn take_completed(&self) -> Vec<PacketId> {
        let completed = std::mem::take(&mut self.lock().completed);
        completed.into_iter().map(|(packet_id, _)| packet_id).collect()
    }

    /// Forgets the packet identifiers of the ended connection.
    pub(crate) fn connection_ended(&self) {
        let mut state = self.lock();
        for held in state.unacknowledged.values_mut() {
            held.packet_id = None;
        }
        for (_, key) in std::mem::take(&mut state.completed) {
            key.into_iter().for_each(|key| state.remember_completed(key));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember_completed(&mut self, key: MessageKey) {
        if self.completed_late.len() >= MAX_COMPLETED_LATE {
            self.completed_late.pop_front();
        }
        self.completed_late.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    fn receive(
        unacknowledged: &Arc<UnacknowledgedMessages>,
        body: &'static str,
        packet_id: u16,
        has_id: bool,
    ) -> Option<MessageLock> {
        let topic = Utf8::try_from("t").unwrap();
        unacknowledged.receive(&topic, &Bytes::from_static(body.as_bytes()), Some(id(packet_id)), has_id)
    }

    fn complete(mut lock: MessageLock) -> Result<(), ErrorKind> {
        let delivery_id = lock.delivery_id.take().unwrap();
        lock.unacknowledged.complete(delivery_id).map_err(|error| error.kind())
    }

    #[test]
    fn completed_messages_are_acknowledged_and_dropped_ones_are_not() {
        let unacknowledged = Arc::new(UnacknowledgedMessages::new(Arc::default()));
        let first = receive(&unacknowledged, "a", 1, true).unwrap();
        drop(receive(&unacknowledged, "b", 2, true).unwrap());
        let third = receive(&unacknowledged, "c", 3, false).unwrap();
        assert_eq!((complete(third), complete(first)), (Ok(()), Ok(())));
        assert_eq!(unacknowledged.take_completed(), [id(3), id(1)]);
        assert!(
            unacknowledged.take_completed().is_empty() && unacknowledged.lock().unacknowledged.is_empty()
        );
    }

    #[test]
    fn a_message_with_an_id_is_completed_at_its_redelivery() {
        let unacknowledged = Arc::new(UnacknowledgedMessages::new(Arc::default()));
        let held = receive(&unacknowledged, "held", 1, true).unwrap();
        let late = receive(&unacknowledged, "late", 2, true).unwrap();
        let unsent = receive(&unacknowledged, "unsent", 3, true).unwrap();
        complete(unsent).unwrap();
        unacknowledged.connection_ended();
        complete(late).unwrap();
        assert!(unacknowledged.take_completed().is_empty());
        assert!(receive(&unacknowledged, "held", 7, true).is_none(), "the application has the message");
        assert!(
            receive(&unacknowledged, "late", 8, true).is_none()
                && receive(&unacknowledged, "unsent", 9, true).is_none()
        );
        complete(held).unwrap();
        assert_eq!(unacknowledged.take_completed(), [id(8), id(9), id(7)]);
        assert!(
            receive(&unacknowledged, "late", 10, true).is_some(),
            "the next message of the same content is a new one"
        );
    }

    #[test]
    fn messages_of_the_same_content_are_counted() {
        let unacknowledged = Arc::new(UnacknowledgedMessages::new(Arc::default()));
        let first = receive(&unacknowledged, "twice", 1, true).unwrap();
        let second = receive(&unacknowledged, "twice", 2, true).unwrap();
        unacknowledged.connection_ended();
        assert!(
            receive(&unacknowledged, "twice", 3, true).is_none()
                && receive(&unacknowledged, "twice", 4, true).is_none()
        );
        let third = receive(&unacknowledged, "twice", 5, true).unwrap();
        for lock in [first, second, third] {
            complete(lock).unwrap();
        }
        let mut acknowledged = unacknowledged.take_completed();
        acknowledged.sort_unstable();
        assert_eq!(acknowledged, [id(3), id(4), id(5)]);
    }

    #[test]
    fn a_message_without_an_id_is_redelivered_as_a_new_one() {
        let unacknowledged = Arc::new(UnacknowledgedMessages::new(Arc::default()));
        let first = receive(&unacknowledged, "toggle", 1, false).unwrap();
        unacknowledged.connection_ended();
        let again = receive(&unacknowledged, "toggle", 1, false).unwrap();
        assert_eq!(complete(first), Err(ErrorKind::LockLost));
        complete(again).unwrap();
        assert_eq!(unacknowledged.take_completed(), [id(1)]);
    }

    #[test]
    fn late_completions_are_bounded() {
        let unacknowledged = Arc::new(UnacknowledgedMessages::new(Arc::default()));
        let topic = Utf8::try_from("t").unwrap();
        for number in 0..MAX_COMPLETED_LATE + 1 {
            let body = Bytes::from(number.to_string());
            let lock = unacknowledged.receive(&topic, &body, Some(id(1)), true).unwrap();
            unacknowledged.connection_ended();
            complete(lock).unwrap();
        }
        assert_eq!(unacknowledged.lock().completed_late.len(), MAX_COMPLETED_LATE);
        assert!(receive(&unacknowledged, "0", 1, true).is_some(), "the oldest is forgotten");
    }
}
