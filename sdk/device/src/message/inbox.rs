//! Which messages the application has, and which the hub may be told to forget.
//!
//! A PUBACK counts only on the connection that brought the message: on the next one the same identifier may be another
//! message's. What is not acknowledged when a connection ends comes again. A message that the application still has is
//! known by its id and its content, and is not given to it twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferrohub_mqtt::{PacketId, Utf8};
use tokio::sync::Notify;

use super::Claim;
use crate::error::{Error, ErrorKind};

/// How many messages wait unread; a hub has fewer under way to one device. What is more is left to come again.
pub(crate) const MAX_UNREAD: usize = 64;
/// How many messages that were completed too late are remembered until they come again.
const MAX_LATE: usize = 64;

pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Tells the task that there is something to acknowledge.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct State {
    next_ticket: u64,
    /// The messages that the application has, and has not completed.
    held: HashMap<u64, Held>,
    /// To be acknowledged on this connection, with what they are known by should it end before.
    completed: Vec<(PacketId, Option<Content>)>,
    /// Completed after their connection's end, oldest first.
    late: VecDeque<Content>,
}

struct Held {
    content: Option<Content>,
    /// None once the connection that brought it has ended.
    packet_id: Option<PacketId>,
}

/// What a message is known by when it comes again. Only one with an id of its sender's: without, two messages may have
/// the same content, and neither may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    topic: Utf8,
    body: Bytes,
}

impl Inbox {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), wake }
    }

    /// A message came. None if the application has it already, or is done with it.
    pub(crate) fn receive(
        self: &Arc<Self>,
        topic: &Utf8,
        body: &Bytes,
        packet_id: Option<PacketId>,
        has_id: bool,
    ) -> Option<Claim> {
        let Some(packet_id) = packet_id else {
            return Some(Claim::new(self.clone(), None));
        };
        let content = has_id.then(|| Content { topic: topic.clone(), body: body.clone() });
        let mut state = self.lock();
        if content.is_some() {
            if let Some(index) = state.late.iter().position(|late| Some(late) == content.as_ref()) {
                state.late.remove(index);
                state.completed.push((packet_id, content));
                return None;
            }
            // One whose connection still stands is not what comes again: a sender may use an id twice.
            let mut held = state.held.values_mut();
            let again = held.find(|held| held.packet_id.is_none() && held.content == content);
            if let Some(held) = again {
                held.packet_id = Some(packet_id);
                return None;
            }
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.held.insert(ticket, Held { content, packet_id: Some(packet_id) });
        Some(Claim::new(self.clone(), Some(ticket)))
    }

    /// The application is done with it.
    pub(super) fn complete(&self, ticket: u64) -> Result<(), Error> {
        let mut state = self.lock();
        match state.held.remove(&ticket) {
            Some(Held { packet_id: Some(packet_id), content }) => {
                state.completed.push((packet_id, content));
                drop(state);
                self.wake.notify_one();
                Ok(())
            }
            Some(Held { packet_id: None, content: Some(content) }) => {
                state.remember(content);
                Ok(())
            }
            Some(Held { packet_id: None, content: None }) | None => Err(Error::new(
                ErrorKind::LockLost,
                "the connection that brought the message ended before it was completed: it comes again",
            )),
        }
    }

    /// The application dropped it: let it come again.
    pub(super) fn give_up(&self, ticket: u64) {
        let held = self.lock().held.remove(&ticket);
        drop(held);
    }

    /// What is to be acknowledged now.
    pub(crate) fn completed(&self) -> Vec<PacketId> {
        let completed = std::mem::take(&mut self.lock().completed);
        completed.into_iter().map(|(packet_id, _)| packet_id).collect()
    }

    /// Identifiers mean nothing any more.
    pub(crate) fn connection_ended(&self) {
        let mut state = self.lock();
        for held in state.held.values_mut() {
            held.packet_id = None;
        }
        for (_, content) in std::mem::take(&mut state.completed) {
            content.into_iter().for_each(|content| state.remember(content));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, content: Content) {
        if self.late.len() >= MAX_LATE {
            self.late.pop_front();
        }
        self.late.push_back(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    fn receive(inbox: &Arc<Inbox>, body: &'static str, packet_id: u16, has_id: bool) -> Option<Claim> {
        let topic = Utf8::try_from("t").unwrap();
        inbox.receive(&topic, &Bytes::from_static(body.as_bytes()), Some(id(packet_id)), has_id)
    }

    fn complete(mut claim: Claim) -> Result<(), ErrorKind> {
        let ticket = claim.ticket.take().unwrap();
        claim.inbox.complete(ticket).map_err(|error| error.kind())
    }

    #[test]
    fn what_is_completed_is_acknowledged_and_what_is_dropped_is_not() {
        let inbox = Arc::new(Inbox::new(Arc::default()));
        let first = receive(&inbox, "a", 1, true).unwrap();
        drop(receive(&inbox, "b", 2, true).unwrap());
        let third = receive(&inbox, "c", 3, false).unwrap();
        assert_eq!((complete(third), complete(first)), (Ok(()), Ok(())));
        assert_eq!(inbox.completed(), [id(3), id(1)]);
        assert!(inbox.completed().is_empty() && inbox.lock().held.is_empty());
    }

    #[test]
    fn a_message_with_an_id_is_completed_when_it_comes_again() {
        let inbox = Arc::new(Inbox::new(Arc::default()));
        let held = receive(&inbox, "held", 1, true).unwrap();
        let late = receive(&inbox, "late", 2, true).unwrap();
        let unsent = receive(&inbox, "unsent", 3, true).unwrap();
        complete(unsent).unwrap();
        inbox.connection_ended();
        complete(late).unwrap();
        assert!(inbox.completed().is_empty());
        assert!(receive(&inbox, "held", 7, true).is_none(), "the application has it");
        assert!(receive(&inbox, "late", 8, true).is_none() && receive(&inbox, "unsent", 9, true).is_none());
        complete(held).unwrap();
        assert_eq!(inbox.completed(), [id(8), id(9), id(7)]);
        assert!(receive(&inbox, "late", 10, true).is_some(), "the next of the same content is another");
    }

    #[test]
    fn two_messages_of_the_same_content_are_two() {
        let inbox = Arc::new(Inbox::new(Arc::default()));
        let first = receive(&inbox, "twice", 1, true).unwrap();
        let second = receive(&inbox, "twice", 2, true).unwrap();
        inbox.connection_ended();
        assert!(receive(&inbox, "twice", 3, true).is_none() && receive(&inbox, "twice", 4, true).is_none());
        let third = receive(&inbox, "twice", 5, true).unwrap();
        for claim in [first, second, third] {
            complete(claim).unwrap();
        }
        let mut acknowledged = inbox.completed();
        acknowledged.sort_unstable();
        assert_eq!(acknowledged, [id(3), id(4), id(5)]);
    }

    #[test]
    fn a_message_without_an_id_comes_again_as_a_new_one() {
        let inbox = Arc::new(Inbox::new(Arc::default()));
        let first = receive(&inbox, "toggle", 1, false).unwrap();
        inbox.connection_ended();
        let again = receive(&inbox, "toggle", 1, false).unwrap();
        assert_eq!(complete(first), Err(ErrorKind::LockLost));
        complete(again).unwrap();
        assert_eq!(inbox.completed(), [id(1)]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let inbox = Arc::new(Inbox::new(Arc::default()));
        let topic = Utf8::try_from("t").unwrap();
        for number in 0..MAX_LATE + 1 {
            let body = Bytes::from(number.to_string());
            let claim = inbox.receive(&topic, &body, Some(id(1)), true).unwrap();
            inbox.connection_ended();
            complete(claim).unwrap();
        }
        assert_eq!(inbox.lock().late.len(), MAX_LATE);
        assert!(receive(&inbox, "0", 1, true).is_some(), "the oldest is forgotten");
    }
}
