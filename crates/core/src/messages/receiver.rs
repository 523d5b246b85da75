//! A connection's hands: it takes messages, sends them to the device, and settles them as the device says.

use std::sync::Arc;

use ferrohub_model::IdentityId;

use super::locks::{FetchLimit, LockOwner};
use super::{Queues, Settlement};
use crate::session::{Session, Subscription};
use crate::store::{StoreError, StoredMessage};

/// Which messages a device listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageFilter {
    /// Those to itself.
    pub messages: bool,
    /// Those to an input of a module.
    pub inputs: bool,
}

impl MessageFilter {
    /// All of them.
    pub const ALL: Self = Self { messages: true, inputs: true };
}

impl From<Session> for MessageFilter {
    fn from(session: Session) -> Self {
        Self { messages: session.has(Subscription::Messages), inputs: session.has(Subscription::Inputs) }
    }
}

/// Messages that a connection has in its hands now, oldest first.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Whether more can be had once there is room.
    pub more: bool,
}

/// What one connection receives messages with. While it holds some, no other connection is given any of the same queue;
/// when it is dropped, what it has not settled waits again in its old place.
#[derive(Debug)]
pub struct Receiver {
    queues: Arc<Queues>,
    id: IdentityId,
    receiver_id: u64,
}

impl Receiver {
    pub(super) fn new(queues: Arc<Queues>, id: IdentityId, receiver_id: u64) -> Self {
        Self { queues, id, receiver_id }
    }

    /// Takes the oldest messages that nobody holds: at most so many, and no more than one if they have more than `bytes`
    /// together. Where there are none, the connection hears when there are.
    pub async fn fetch(
        &self,
        filter: MessageFilter,
        messages: usize,
        bytes: usize,
    ) -> Result<Fetched, StoreError> {
        let is_wanted = move |is_input| if is_input { filter.inputs } else { filter.messages };
        let (messages, more) = self
            .queues
            .fetch(
                &self.id,
                LockOwner::Receiver(self.receiver_id),
                FetchLimit { messages, bytes },
                |message| is_wanted(message.is_input),
            )
            .await?;
        Ok(Fetched { messages, more })
    }

    /// Settles messages that it holds. When this returns, that is on disk.
    pub async fn settle(&self, sequences: &[u64], settlement: Settlement) -> Result<(), StoreError> {
        self.queues.settle(&self.id, self.receiver_id, sequences, settlement).await
    }
}

impl Receiver {
    /// Lets go of messages that it holds and the device was not sent: they wait in their old place.
    pub fn release(&self, sequences: &[u64]) {
        let now = self.queues.clock.now();
        let released = self.queues.locks().release_some(&self.id, self.receiver_id, sequences, now);
        self.queues.spawn_released(&self.id, released);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let released = self.queues.locks().release_all(&self.id, self.receiver_id, self.queues.clock.now());
        self.queues.spawn_released(&self.id, released);
    }
}
