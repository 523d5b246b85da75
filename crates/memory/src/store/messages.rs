//! Messages to devices and modules.

use async_trait::async_trait;
use ferrohub_core::cloud_to_device::{
    AbandonOutcome, EnqueueOutcome, ExpiredMessage, FeedbackOptions, MessageStore, NewMessage, QueueEntry,
    StoredFeedback, StoredMessage,
};
use ferrohub_core::delivery::is_exhausted;
use ferrohub_core::store::StoreError;
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{IdentityId, Timestamp};

use super::MemoryStore;
use super::state::State;

/// A message in its queue.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) message: NewMessage,
    delivery_count: u32,
}

impl State {
    /// Returns the queue of an identity, oldest first.
    pub(super) fn queue(&self, id: &IdentityId) -> impl Iterator<Item = (u64, &NewMessage)> {
        let rows = self.messages.rows.iter().filter(move |(_, stored)| stored.message.id == *id);
        rows.map(|(sequence, stored)| (*sequence, &stored.message))
    }

    fn enqueue(&mut self, message: &NewMessage, limit: u32) -> EnqueueOutcome {
        if !self.identities.contains_key(&message.id) {
            return EnqueueOutcome::NotFound;
        }
        if self.queue(&message.id).count() as u64 >= u64::from(limit) {
            return EnqueueOutcome::Full;
        }
        let stored = Message { message: message.clone(), delivery_count: 0 };
        EnqueueOutcome::Done(self.messages.push(stored))
    }

    /// Removes messages, with feedback if their senders requested it. Returns how many there were.
    fn settle(&mut self, sequences: &[u64], status: FeedbackStatus, options: FeedbackOptions) -> u64 {
        let mut settled = 0;
        for sequence in sequences {
            if let Some(Message { message, .. }) = self.messages.rows.remove(sequence) {
                self.add_feedback(&message, status, options);
                settled += 1;
            }
        }
        settled
    }

    fn abandon(&mut self, sequence: u64, max_deliveries: u32, options: FeedbackOptions) -> AbandonOutcome {
        let Some(stored) = self.messages.rows.get_mut(&sequence) else { return AbandonOutcome::NotFound };
        stored.delivery_count += 1;
        if !is_exhausted(stored.delivery_count, max_deliveries) {
            return AbandonOutcome::Requeued;
        }
        self.settle(&[sequence], FeedbackStatus::DeliveryCountExceeded, options);
        AbandonOutcome::DeadLettered
    }

    fn purge(&mut self, id: &IdentityId, options: FeedbackOptions) -> Option<u64> {
        self.identities.get(id)?;
        let sequences: Vec<u64> = self.queue(id).map(|(sequence, _)| sequence).collect();
        Some(self.settle(&sequences, FeedbackStatus::Purged, options))
    }

    fn expired(&self, now: Timestamp, after: (Timestamp, u64), top: usize) -> Vec<ExpiredMessage> {
        let mut by_expiry: Vec<_> =
            self.messages.rows.iter().map(|(sequence, stored)| (stored.message.expiry, *sequence)).collect();
        by_expiry.retain(|key| key.0 <= now && *key > after);
        by_expiry.sort_unstable();
        let expired = by_expiry.into_iter().take(top);
        let found = expired.filter_map(|(expiry, sequence)| {
            let id = self.messages.rows.get(&sequence)?.message.id.clone();
            Some(ExpiredMessage { sequence, expiry, id })
        });
        found.collect()
    }

    fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let messages = self.messages.rows.values().map(|stored| stored.message.expiry);
        let feedback = self.feedback.rows.values().map(|stored| stored.expiry);
        messages.chain(feedback).filter(|expiry| *expiry > now).min()
    }
}

#[async_trait]
impl MessageStore for MemoryStore {
    async fn enqueue_messages(
        &self,
        messages: &[NewMessage],
        limit: u32,
    ) -> Result<Vec<EnqueueOutcome>, StoreError> {
        self.write(|state| messages.iter().map(|message| state.enqueue(message, limit)).collect()).await
    }

    async fn queued_messages(&self, id: &IdentityId) -> Result<Vec<QueueEntry>, StoreError> {
        let entry = |(sequence, message): (u64, &NewMessage)| QueueEntry {
            sequence,
            expiry: message.expiry,
            size: message.properties.size() + message.body.len(),
            is_input: message.input.is_some(),
        };
        self.read(|state| state.queue(id).map(entry).collect()).await
    }

    async fn messages(&self, sequences: &[u64]) -> Result<Vec<StoredMessage>, StoreError> {
        self.read(|state| {
            let found = sequences.iter().filter_map(|sequence| {
                let Message { message, delivery_count } = state.messages.rows.get(sequence)?.clone();
                Some(StoredMessage { sequence: *sequence, delivery_count, message })
            });
            found.collect()
        })
        .await
    }

    async fn settle_messages(
        &self,
        sequences: &[u64],
        status: FeedbackStatus,
        options: FeedbackOptions,
    ) -> Result<u64, StoreError> {
        self.write(|state| state.settle(sequences, status, options)).await
    }

    async fn abandon_message(
        &self,
        sequence: u64,
        max_deliveries: u32,
        options: FeedbackOptions,
    ) -> Result<AbandonOutcome, StoreError> {
        self.write(|state| state.abandon(sequence, max_deliveries, options)).await
    }

    async fn purge_messages(
        &self,
        id: &IdentityId,
        options: FeedbackOptions,
    ) -> Result<Option<u64>, StoreError> {
        self.write(|state| state.purge(id, options)).await
    }

    async fn expired_messages(
        &self,
        now: Timestamp,
        after: (Timestamp, u64),
        top: usize,
    ) -> Result<Vec<ExpiredMessage>, StoreError> {
        self.read(|state| state.expired(now, after, top)).await
    }

    async fn next_expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(|state| state.next_expiry(now)).await
    }

    async fn feedback(&self, after: u64, top: usize) -> Result<Vec<StoredFeedback>, StoreError> {
        self.read(|state| state.oldest_feedback(after, top)).await
    }

    async fn complete_feedback(&self, sequences: &[u64]) -> Result<(), StoreError> {
        self.write(|state| state.feedback.rows.retain(|sequence, _| !sequences.contains(sequence))).await
    }

    async fn abandon_feedback(&self, sequences: &[u64], max_deliveries: u32) -> Result<(), StoreError> {
        self.write(|state| state.abandon_feedback(sequences, max_deliveries)).await
    }

    async fn expire_feedback(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(|state| state.feedback.remove_where(|stored| stored.expiry <= now)).await
    }
}
