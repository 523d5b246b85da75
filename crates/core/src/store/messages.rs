//! Messages to devices and what became of them, as they are stored.

use bytes::Bytes;
use ferrohub_model::message::{Ack, FeedbackRecord, MessageProperties};
use ferrohub_model::{IdentityId, Timestamp};

/// A message that is about to be put behind the others of its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Whom it is for.
    pub id: IdentityId,
    /// The input of the module, if it is for one.
    pub input: Option<String>,
    /// When the hub took it.
    pub enqueued: Timestamp,
    /// Until when the device can have it.
    pub expiry: Timestamp,
    /// What the sender wants to hear about it.
    pub ack: Ack,
    /// What it says about itself.
    pub properties: MessageProperties,
    /// What it says.
    pub body: Bytes,
}

/// How that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnqueueOutcome {
    /// It is on disk, under this number: larger than that of any message before it.
    Done(u64),
    /// The identity was not there.
    NotFound,
    /// As many wait as may.
    Full,
}

/// What decides about the delivery of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its number.
    pub sequence: u64,
    /// Until when the device can have it.
    pub expiry: Timestamp,
    /// Bytes of its properties and its body.
    pub size: usize,
    /// Whether it is for an input of a module.
    pub is_input: bool,
}

/// A message in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number.
    pub sequence: u64,
    /// How often the device gave it back.
    pub delivery_count: u32,
    /// What it was put there as.
    pub message: NewMessage,
}

/// A message whose time ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredMessage {
    /// Its number.
    pub sequence: u64,
    /// When.
    pub expiry: Timestamp,
    /// Whom it was for.
    pub id: IdentityId,
}

/// What to keep about messages that come to their end, for those who want to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackOptions {
    /// When they do.
    pub now: Timestamp,
    /// Until when it can be heard.
    pub expiry: Timestamp,
    /// How many records are kept; the oldest give way.
    pub limit: u64,
}

/// What became of a message that the device gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbandonOutcome {
    /// It waits in its old place.
    Requeued,
    /// It was given back too often, and is gone.
    DeadLettered,
    /// It was not there any more.
    NotFound,
}

/// What became of one message, waiting to be heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFeedback {
    /// Larger than that of any record before it.
    pub sequence: u64,
    /// How often it was given back.
    pub delivery_count: u32,
    /// What.
    pub record: FeedbackRecord,
}
