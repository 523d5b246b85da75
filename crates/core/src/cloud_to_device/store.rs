//! The part of the store port that keeps messages to devices, and feedback on them.

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_model::message::{Ack, FeedbackRecord, FeedbackStatus, MessageProperties};
use ferrohub_model::{IdentityId, Timestamp};

use crate::store_error::StoreError;

/// A message to enqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The receiver.
    pub id: IdentityId,
    /// The module input that it is for, if any.
    pub input: Option<String>,
    /// When the hub accepted it.
    pub enqueued: Timestamp,
    /// The expiry. After it the message is not delivered.
    pub expiry: Timestamp,
    /// The outcomes for which the sender requests feedback.
    pub ack: Ack,
    /// The message properties.
    pub properties: MessageProperties,
    /// The body.
    pub body: Bytes,
}

/// The outcome of enqueuing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnqueueOutcome {
    /// The message is persisted with this sequence number, which is larger than those of the messages before it in its
    /// queue.
    Done(u64),
    /// The identity does not exist.
    NotFound,
    /// The queue is full.
    Full,
}

/// The part of a queued message that its delivery depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEntry {
    /// The sequence number.
    pub sequence: u64,
    /// The expiry.
    pub expiry: Timestamp,
    /// Size of the properties and the body, in bytes.
    pub size: usize,
    /// Whether the message is for a module input.
    pub is_input: bool,
}

/// A queued message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The sequence number.
    pub sequence: u64,
    /// How many times the device abandoned it.
    pub delivery_count: u32,
    /// The message as enqueued.
    pub message: NewMessage,
}

/// A message that has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredMessage {
    /// The sequence number.
    pub sequence: u64,
    /// The expiry.
    pub expiry: Timestamp,
    /// The receiver.
    pub id: IdentityId,
}

/// How to store feedback when messages are settled, for senders that requested it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackOptions {
    /// The time of the outcome.
    pub now: Timestamp,
    /// The expiry of the feedback.
    pub expiry: Timestamp,
    /// Maximum number of feedback records. The oldest ones beyond it are deleted.
    pub limit: u64,
}

/// The outcome of abandoning a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbandonOutcome {
    /// The message is in the queue again, at its former position.
    Requeued,
    /// The message reached the maximum delivery count and was dead-lettered.
    DeadLettered,
    /// The message is not in the queue.
    NotFound,
}

/// A stored feedback record that no service has completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFeedback {
    /// The sequence number, larger than those of all earlier records.
    pub sequence: u64,
    /// How many times the feedback was abandoned.
    pub delivery_count: u32,
    /// The feedback.
    pub record: FeedbackRecord,
}

/// Messages to devices and modules, and feedback on them.
#[async_trait]
pub trait MessageStore: Send + Sync + 'static {
    /// Appends messages to their queues, in this order and in one commit. Returns an outcome for each: `Full` if `limit`
    /// messages are in its queue.
    async fn enqueue_messages(
        &self,
        messages: &[NewMessage],
        limit: u32,
    ) -> Result<Vec<EnqueueOutcome>, StoreError>;

    /// Returns the queue of an identity, oldest first, without properties and bodies.
    async fn queued_messages(&self, id: &IdentityId) -> Result<Vec<QueueEntry>, StoreError>;

    /// Returns the messages with these sequence numbers, in this order. Skips those that no longer exist.
    async fn messages(&self, sequences: &[u64]) -> Result<Vec<StoredMessage>, StoreError>;

    /// Removes messages from their queues and stores the feedback that their senders requested, in one transaction.
    /// Returns the number of messages removed.
    async fn settle_messages(
        &self,
        sequences: &[u64],
        status: FeedbackStatus,
        options: FeedbackOptions,
    ) -> Result<u64, StoreError>;

    /// Abandons a message and increments its delivery count. At `max_deliveries` the message is dead-lettered.
    async fn abandon_message(
        &self,
        sequence: u64,
        max_deliveries: u32,
        options: FeedbackOptions,
    ) -> Result<AbandonOutcome, StoreError>;

    /// Empties the queue of an identity. Returns the number of messages removed, or `None` if the identity does not
    /// exist.
    async fn purge_messages(
        &self,
        id: &IdentityId,
        options: FeedbackOptions,
    ) -> Result<Option<u64>, StoreError>;

    /// Returns the first `top` messages that are expired at `now`, in order of expiry and sequence number, starting
    /// after `after`.
    async fn expired_messages(
        &self,
        now: Timestamp,
        after: (Timestamp, u64),
        top: usize,
    ) -> Result<Vec<ExpiredMessage>, StoreError>;

    /// Returns the earliest expiry of a message or feedback record after `now`.
    async fn next_expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Returns the first `top` feedback records with sequence numbers greater than `after`, oldest first. The first sequence
    /// number is 1.
    async fn feedback(&self, after: u64, top: usize) -> Result<Vec<StoredFeedback>, StoreError>;

    /// Deletes feedback records.
    async fn complete_feedback(&self, sequences: &[u64]) -> Result<(), StoreError>;

    /// Abandons feedback records and increments their delivery counts. Deletes those that reach `max_deliveries`.
    async fn abandon_feedback(&self, sequences: &[u64], max_deliveries: u32) -> Result<(), StoreError>;

    /// Deletes the feedback records that are expired at `now`. Returns their number.
    async fn expire_feedback(&self, now: Timestamp) -> Result<u64, StoreError>;
}
