//! What queues of messages refuse to exceed.

use std::time::Duration;

/// Limits of messages to devices. The defaults are Azure's.
#[derive(Debug, Clone)]
pub struct MessageLimits {
    /// Messages in the queue of one device or module.
    pub queue_length: u32,
    /// Bytes of one message, body and properties.
    pub bytes: usize,
    /// How long a message waits whose sender does not say.
    pub time_to_live: Duration,
    /// How long a message may wait at most.
    pub max_time_to_live: Duration,
    /// How long a device that received a message over HTTPS may take to complete it.
    pub lock: Duration,
    /// How often a message is delivered to a device that gives it back.
    pub max_deliveries: u32,
    /// Of what became of them.
    pub feedback: FeedbackLimits,
}

/// Limits of what senders can hear.
#[derive(Debug, Clone)]
pub struct FeedbackLimits {
    /// How long it waits to be heard.
    pub time_to_live: Duration,
    /// How long a back end that received a batch may take to complete it.
    pub lock: Duration,
    /// How often a batch is delivered to back ends that give it back.
    pub max_deliveries: u32,
    /// Records in one batch.
    pub batch: usize,
    /// How long a record waits for others to fill the batch.
    pub delay: Duration,
    /// Records that wait; the oldest give way.
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
