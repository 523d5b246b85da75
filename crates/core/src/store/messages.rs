//! Messages to devices and feedback on them, as stored.

use bytes::Bytes;
use ferrohub_model::message::{Ack, FeedbackRecord, MessageProperties};
use ferrohub_model::{IdentityId, Timestamp};

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
    /// The message is persisted with this sequence number, which is larger than those of all earlier messages.
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
