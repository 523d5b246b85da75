//! `[messages]`: cloud-to-device messages and their feedback.
//!
//! The texts of the keys are in [`KEYS`](super::keys::KEYS), and so in `docs/configuration.md`.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::bail;
use ferrohub_core::cloud_to_device::{FeedbackLimits, MessageLimits};
use serde::{Deserialize, Serialize};

/// The queue length is bounded because each delivery reads the whole queue.
const QUEUE_LENGTHS: RangeInclusive<u32> = 1..=1000;

/// `[messages]`. Feedback tells a sender the outcome of its messages; the hub delivers it in batches.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MessagesConfig {
    pub(crate) queue_length: u32,
    pub(crate) message_bytes: usize,
    pub(crate) time_to_live_seconds: u64,
    pub(crate) max_time_to_live_seconds: u64,
    pub(crate) lock_seconds: u64,
    pub(crate) max_deliveries: u32,
    pub(crate) feedback_time_to_live_seconds: u64,
    pub(crate) feedback_lock_seconds: u64,
    pub(crate) max_feedback_deliveries: u32,
    pub(crate) feedback_delay_seconds: u64,
    pub(crate) feedback_records: u64,
}

impl Default for MessagesConfig {
    fn default() -> Self {
        let limits = MessageLimits::default();
        Self {
            queue_length: limits.queue_length,
            message_bytes: limits.bytes,
            time_to_live_seconds: limits.time_to_live.as_secs(),
            max_time_to_live_seconds: limits.max_time_to_live.as_secs(),
            lock_seconds: limits.lock.as_secs(),
            max_deliveries: limits.max_deliveries,
            feedback_time_to_live_seconds: limits.feedback.time_to_live.as_secs(),
            feedback_lock_seconds: limits.feedback.lock.as_secs(),
            max_feedback_deliveries: limits.feedback.max_deliveries,
            feedback_delay_seconds: limits.feedback.delay.as_secs(),
            feedback_records: limits.feedback.records,
        }
    }
}

impl MessagesConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !QUEUE_LENGTHS.contains(&self.queue_length) {
            let (least, most) = QUEUE_LENGTHS.into_inner();
            bail!("messages.queue_length must be {least} to {most}, not {}", self.queue_length);
        }
        for (name, value) in [
            ("time_to_live_seconds", self.time_to_live_seconds),
            ("lock_seconds", self.lock_seconds),
            ("max_deliveries", self.max_deliveries.into()),
            ("feedback_time_to_live_seconds", self.feedback_time_to_live_seconds),
            ("feedback_lock_seconds", self.feedback_lock_seconds),
            ("max_feedback_deliveries", self.max_feedback_deliveries.into()),
            ("feedback_records", self.feedback_records),
        ] {
            if value == 0 {
                bail!("messages.{name} must be at least 1");
            }
        }
        if self.time_to_live_seconds > self.max_time_to_live_seconds {
            bail!("messages.time_to_live_seconds must not be more than messages.max_time_to_live_seconds");
        }
        Ok(())
    }

    /// Returns the limits in the form that `ferrohub-core` takes.
    pub(crate) fn limits(&self) -> MessageLimits {
        MessageLimits {
            queue_length: self.queue_length,
            bytes: self.message_bytes,
            time_to_live: Duration::from_secs(self.time_to_live_seconds),
            max_time_to_live: Duration::from_secs(self.max_time_to_live_seconds),
            lock: Duration::from_secs(self.lock_seconds),
            max_deliveries: self.max_deliveries,
            feedback: FeedbackLimits {
                time_to_live: Duration::from_secs(self.feedback_time_to_live_seconds),
                lock: Duration::from_secs(self.feedback_lock_seconds),
                max_deliveries: self.max_feedback_deliveries,
                delay: Duration::from_secs(self.feedback_delay_seconds),
                records: self.feedback_records,
                ..FeedbackLimits::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_errors() {
        assert!(MessagesConfig::default().check().is_ok());
        for config in [
            MessagesConfig { queue_length: 0, ..MessagesConfig::default() },
            MessagesConfig { queue_length: 1001, ..MessagesConfig::default() },
            MessagesConfig { lock_seconds: 0, ..MessagesConfig::default() },
            MessagesConfig { max_time_to_live_seconds: 60, ..MessagesConfig::default() },
        ] {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
