//! Messages to devices and modules: persistent queues, message locks and feedback.
//!
//! A message is persisted before the hub acknowledges it to the sender. It stays in its queue until a receiver
//! completes or rejects it, it expires, it has been abandoned too often, or the queue is purged.
//!
//! Messages and feedback are handed out by a peek-lock ([`delivery`](crate::delivery)), whose locks are in memory only: a
//! delivery costs no write. After a restart, messages that were not settled are delivered again. A message must be locked
//! before it is sent, settled or expired. Therefore no message is with two receivers, and none is delivered after it was
//! settled.
//!
//! Connections lock messages with a [`Receiver`]. HTTPS requests, which have no connection, use a
//! [`LockToken`](crate::delivery::LockToken).

mod expiry;
mod feedback;
mod limits;
mod message_queue;
mod queues;
mod receive;
mod receiver;
mod send;
mod store;

pub(crate) use expiry::run as run_expiry;
pub use feedback::FeedbackBatch;
pub use limits::{FeedbackLimits, MessageLimits};
pub(crate) use queues::Queues;
pub use queues::{LockedMessage, Settlement};
pub use receiver::{Fetched, MessageFilter, Receiver};
pub use store::{
    AbandonOutcome, EnqueueOutcome, ExpiredMessage, FeedbackOptions, MessageStore, NewMessage, QueueEntry,
    StoredFeedback, StoredMessage,
};
