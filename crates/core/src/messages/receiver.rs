//! A connection's hands: it takes messages, sends them to the device, and settles them as the device says.

use std::sync::Arc;

use ferrohub_model::IdentityId;

use super::holds::{Holder, Portion};
use super::{Queues, Settlement};
use crate::session::{Session, Subscription};
use crate::store::{StoreError, StoredMessage};

/// Which messages a device listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Those to itself.
    pub messages: bool,
    /// Those to an input of a module.
    pub inputs: bool,
}

impl Wanted {
    /// All of them.
    pub const ALL: Self = Self { messages: true, inputs: true };
}

impl From<Session> for Wanted {
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
    number: u64,
}

impl Receiver {
    pub(super) fn new(queues: Arc<Queues>, id: IdentityId, number: u64) -> Self {
        Self { queues, id, number }
    }

    /// Takes the oldest messages that nobody holds: at most so many, and no more than one if they have more than `bytes`
    /// together. Where there are none, the connection hears when there are.
    pub async fn fetch(&self, wanted: Wanted, messages: usize, bytes: usize) -> Result<Fetched, StoreError> {
        let is_wanted = move |is_input| if is_input { wanted.inputs } else { wanted.messages };
        let (messages, more) = self
            .queues
            .take(&self.id, Holder::Receiver(self.number), Portion { messages, bytes }, |message| {
                is_wanted(message.is_input)
            })
            .await?;
        Ok(Fetched { messages, more })
    }

    /// Settles messages that it holds. When this returns, that is on disk.
    pub async fn settle(&self, sequences: &[u64], settlement: Settlement) -> Result<(), StoreError> {
        self.queues.settle(&self.id, self.number, sequences, settlement).await
    }
}

impl Receiver {
    /// Lets go of messages that it holds and the device was not sent: they wait in their old place.
    pub fn put_back(&self, sequences: &[u64]) {
        let now = self.queues.clock.now();
        let freed = self.queues.holds().release_some(&self.id, self.number, sequences, now);
        self.queues.put_back(&self.id, freed);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let freed = self.queues.holds().release(&self.id, self.number, self.queues.clock.now());
        self.queues.put_back(&self.id, freed);
    }
}
