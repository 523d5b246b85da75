//! Limits of message queues and feedback.

use std::time::Duration;

/// Limits of messages to devices. The defaults are those of Azure.
#[derive(Debug, Clone)]
pub struct MessageLimits {
    /// Maximum number of messages in the queue of one device or module.
    pub queue_length: u32,
    /// Maximum size of a message (body and properties), in bytes.
    pub bytes: usize,
    /// Time to live of a message whose sender sets no expiry.
    pub time_to_live: Duration,
    /// Maximum time to live of a message.
    pub max_time_to_live: Duration,
    /// How long a message is locked for a device that receives it over HTTPS.
    pub lock: Duration,
    /// Maximum number of deliveries. A message that is abandoned after the last one is dead-lettered.
    pub max_deliveries: u32,
    /// Limits of feedback.
    pub feedback: FeedbackLimits,
}

/// Limits of feedback, which reports the outcomes of messages to services.
#[derive(Debug, Clone)]
pub struct FeedbackLimits {
    /// How long a record is kept until a service receives it.
    pub time_to_live: Duration,
    /// How long a batch is locked for the service that receives it.
    pub lock: Duration,
    /// Maximum number of deliveries. A record that is abandoned after the last one is deleted.
    pub max_deliveries: u32,
    /// Maximum number of records in one batch.
    pub batch: usize,
    /// How long a record waits for more records to fill the batch.
    pub delay: Duration,
    /// Maximum number of records that are kept. Beyond it, the oldest are deleted.
    pub records: u64,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            queue_length: 50,
            bytes: ferrohub_model::message::MAX_MESSAGE_SIZE,
            time_to_live: Duration::from_secs(3600),
            max_time_to_live: Duration::from_secs(2 * 24 * 3600),
            lock: Duration::from_secs(60),
            max_deliveries: 10,
            feedback: FeedbackLimits::default(),
        }
    }
}

impl Default for FeedbackLimits {
    fn default() -> Self {
        Self {
            time_to_live: Duration::from_secs(3600),
            lock: Duration::from_secs(60),
            max_deliveries: 10,
            batch: 64,
            delay: Duration::from_secs(15),
            records: 1_000_000,
        }
    }
}
