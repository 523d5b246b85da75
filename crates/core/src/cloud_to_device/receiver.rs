//! The receiver of a connection: fetches messages for the device and settles them.

use std::sync::Arc;

use ferrohub_model::IdentityId;

use super::locks::{FetchLimit, LockOwner};
use super::{Queues, Settlement};
use crate::cloud_to_device::StoredMessage;
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
    /// Whether the limit left out further messages; fetch again when there is room.
    pub more: bool,
}

/// Receives messages for one connection.
///
/// While it has messages locked, no other connection gets messages of the same queue. Dropping it releases unsettled
/// messages to their old positions in the queue.
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

    /// Locks and returns the oldest unlocked messages: at most `messages`, and at most `bytes` in total unless the
    /// first one alone is larger. If there are none, the connection is notified when there are.
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

    /// Settles messages that it has locked. The outcome is persisted when this returns.
    pub async fn settle(&self, sequences: &[u64], settlement: Settlement) -> Result<(), StoreError> {
        self.queues.settle(&self.id, self.receiver_id, sequences, settlement).await
    }
}

impl Receiver {
    /// Releases messages that it has locked but that were not sent to the device. They keep their positions in the
    /// queue.
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
