//! The receiver of a connection: fetches messages for the device and settles them.

use std::sync::Arc;

use super::message_queue::MessageQueue;
use super::{QueueEntry, Queues, Settlement, StoredMessage};
use crate::delivery::{Holder, Recipient};
use crate::session::{Session, Subscription};
use crate::store_error::StoreError;

/// Which messages a device is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageFilter {
    /// Messages to the device or module itself.
    pub messages: bool,
    /// Messages to an input of a module.
    pub inputs: bool,
}

impl MessageFilter {
    /// All messages.
    pub const ALL: Self = Self { messages: true, inputs: true };
}

impl From<Session> for MessageFilter {
    fn from(session: Session) -> Self {
        Self { messages: session.has(Subscription::Messages), inputs: session.has(Subscription::Inputs) }
    }
}

/// The result of a fetch: messages that the connection has locked, oldest first.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Whether there may be further messages that can be fetched now, also if `messages` is empty: fetch again when there is
    /// room.
    pub more: bool,
}

/// Receives messages for one connection.
///
/// While it has messages locked, no other connection gets messages of the same queue. Dropping it releases unsettled
/// messages to their old positions in the queue.
#[derive(Debug)]
pub struct Receiver {
    queues: Arc<Queues>,
    holder: Holder<MessageQueue>,
}

impl Receiver {
    pub(super) fn new(queues: Arc<Queues>, holder: Holder<MessageQueue>) -> Self {
        Self { queues, holder }
    }

    /// Locks and returns the oldest unlocked messages: at most `messages`, and at most `bytes` in total unless the
    /// first one alone is larger. If there are none and `more` is false, the
    /// connection is notified when there are.
    pub async fn fetch(
        &self,
        filter: MessageFilter,
        messages: usize,
        bytes: usize,
    ) -> Result<Fetched, StoreError> {
        let is_wanted = move |is_input| if is_input { filter.inputs } else { filter.messages };
        let recipient = Recipient::Holder(&self.holder);
        let wanted = |message: &QueueEntry| is_wanted(message.is_input);
        let fetched = self.queues.fetch(self.holder.key(), recipient, (messages, bytes), wanted).await?;
        Ok(Fetched { messages: fetched.messages, more: fetched.more })
    }

    /// Settles messages that it has locked. The outcome is persisted when this returns.
    pub async fn settle(&self, sequences: &[u64], settlement: Settlement) -> Result<(), StoreError> {
        self.holder.settle(sequences, settlement).await.map(drop)
    }

    /// Releases messages that it has locked but that were not sent to the device. They keep their positions in the
    /// queue.
    pub fn release(&self, sequences: &[u64]) {
        self.holder.release(sequences);
    }
}
