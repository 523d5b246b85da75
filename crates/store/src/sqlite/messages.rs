//! Messages to devices and modules, and feedback on them.

use async_trait::async_trait;
use ferrohub_core::cloud_to_device::{
    AbandonOutcome, EnqueueOutcome, ExpiredMessage, FeedbackOptions, MessageStore, NewMessage, QueueEntry,
    StoredFeedback, StoredMessage,
};
use ferrohub_core::store::StoreError;
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{IdentityId, Timestamp};

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl MessageStore for SqliteStore {
    async fn enqueue_messages(
        &self,
        messages: &[NewMessage],
        limit: u32,
    ) -> Result<Vec<EnqueueOutcome>, StoreError> {
        let messages = messages.to_vec();
        self.write_messages(move |db| statements::enqueue_messages(db, &messages, limit)).await
    }

    async fn queued_messages(&self, id: &IdentityId) -> Result<Vec<QueueEntry>, StoreError> {
        let id = id.clone();
        self.readers.read(move |db| statements::queued_messages(db, &id)).await
    }

    async fn messages(&self, sequences: &[u64]) -> Result<Vec<StoredMessage>, StoreError> {
        let sequences = sequences.to_vec();
        self.readers.read(move |db| statements::messages(db, &sequences)).await
    }

    async fn settle_messages(
        &self,
        sequences: &[u64],
        status: FeedbackStatus,
        options: FeedbackOptions,
    ) -> Result<u64, StoreError> {
        let sequences = sequences.to_vec();
        self.write_messages(move |db| statements::settle_messages(db, &sequences, status, options)).await
    }

    async fn abandon_message(
        &self,
        sequence: u64,
        max_deliveries: u32,
        options: FeedbackOptions,
    ) -> Result<AbandonOutcome, StoreError> {
        self.write_messages(move |db| statements::abandon_message(db, sequence, max_deliveries, options))
            .await
    }

    async fn purge_messages(
        &self,
        id: &IdentityId,
        options: FeedbackOptions,
    ) -> Result<Option<u64>, StoreError> {
        let id = id.clone();
        self.write_messages(move |db| statements::purge_messages(db, &id, options)).await
    }

    async fn expired_messages(
        &self,
        now: Timestamp,
        after: (Timestamp, u64),
        top: usize,
    ) -> Result<Vec<ExpiredMessage>, StoreError> {
        self.readers.read(move |db| statements::expired_messages(db, now, after, top)).await
    }

    async fn next_expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read(move |db| statements::next_expiry(db, now)).await
    }

    async fn feedback(&self, after: u64, top: usize) -> Result<Vec<StoredFeedback>, StoreError> {
        self.readers.read(move |db| statements::feedback(db, after, top)).await
    }

    async fn complete_feedback(&self, sequences: &[u64]) -> Result<(), StoreError> {
        let sequences = sequences.to_vec();
        self.writer.write(move |db| statements::complete_feedback(db, &sequences)).await
    }

    async fn abandon_feedback(&self, sequences: &[u64], max_deliveries: u32) -> Result<(), StoreError> {
        let sequences = sequences.to_vec();
        self.writer.write(move |db| statements::abandon_feedback(db, &sequences, max_deliveries)).await
    }

    async fn expire_feedback(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::expire_feedback(db, now)).await
    }
}
