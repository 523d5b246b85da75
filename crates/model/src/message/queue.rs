//! The JSON of queues of messages to devices.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A message in the queue of a device or module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EnqueuedMessage {
    /// The device.
    pub device_id: String,
    /// The module, if the message is for one.
    pub module_id: Option<String>,
    /// The message id that the sender set.
    pub message_id: Option<String>,
    /// The sequence number, larger than that of every earlier message.
    pub sequence_number: u64,
    /// When the hub accepted it.
    pub enqueued_time_utc: Timestamp,
    /// When it expires.
    pub expiry_time_utc: Timestamp,
}

impl EnqueuedMessage {
    /// Creates the description of a message to `identity`.
    #[must_use]
    pub fn new(
        identity: &crate::IdentityId,
        message_id: Option<&str>,
        sequence_number: u64,
        enqueued: Timestamp,
        expiry: Timestamp,
    ) -> Self {
        Self {
            device_id: identity.device_str().to_owned(),
            module_id: identity.module_str().map(str::to_owned),
            message_id: message_id.map(str::to_owned),
            sequence_number,
            enqueued_time_utc: enqueued,
            expiry_time_utc: expiry,
        }
    }
}

/// The result of a purge of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PurgeResult {
    /// Number of purged messages.
    pub total_messages_purged: u64,
    /// The device.
    pub device_id: String,
    /// The module, if the queue belongs to one.
    pub module_id: Option<String>,
}

impl PurgeResult {
    /// Creates the result for the queue of `identity` and the number of its messages.
    #[must_use]
    pub fn new(identity: &crate::IdentityId, messages: u64) -> Self {
        Self {
            total_messages_purged: messages,
            device_id: identity.device_str().to_owned(),
            module_id: identity.module_str().map(str::to_owned),
        }
    }
}
