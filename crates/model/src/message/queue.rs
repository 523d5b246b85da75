//! What the hub answers about a queue of messages to a device.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A message that waits for its device now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EnqueuedMessage {
    /// The device.
    pub device_id: String,
    /// The module of it, if it is for one.
    pub module_id: Option<String>,
    /// The id that the sender gave it.
    pub message_id: Option<String>,
    /// Its place: larger than that of every message before it.
    pub sequence_number: u64,
    /// When the hub took it.
    pub enqueued_time_utc: Timestamp,
    /// Until when the device can have it.
    pub expiry_time_utc: Timestamp,
}

impl EnqueuedMessage {
    /// A message to `identity`.
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

/// A queue that was emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PurgeResult {
    /// How many messages were thrown away.
    pub total_messages_purged: u64,
    /// The device.
    pub device_id: String,
    /// The module of it, if it was one's.
    pub module_id: Option<String>,
}

impl PurgeResult {
    /// The queue of `identity`, with so many messages.
    #[must_use]
    pub fn new(identity: &crate::IdentityId, messages: u64) -> Self {
        Self {
            total_messages_purged: messages,
            device_id: identity.device_str().to_owned(),
            module_id: identity.module_str().map(str::to_owned),
        }
    }
}
