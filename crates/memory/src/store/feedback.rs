//! Feedback on messages.

use ferrohub_core::cloud_to_device::{FeedbackOptions, NewMessage, StoredFeedback};
use ferrohub_core::delivery::is_exhausted;
use ferrohub_model::message::{Ack, FeedbackRecord, FeedbackStatus, SystemProperty};
use ferrohub_model::{IdentityId, Timestamp};

use super::state::State;

/// A feedback record that no service has completed.
#[derive(Debug, Clone)]
pub(super) struct Feedback {
    /// The receiver of the message.
    pub(super) id: IdentityId,
    pub(super) expiry: Timestamp,
    delivery_count: u32,
    record: FeedbackRecord,
}

/// Returns whether the sender of a message requested feedback on this outcome.
fn is_requested(ack: Ack, status: FeedbackStatus) -> bool {
    match ack {
        Ack::None => false,
        Ack::Positive => status == FeedbackStatus::Success,
        Ack::Negative => status != FeedbackStatus::Success,
        Ack::Full => true,
    }
}

impl State {
    /// Adds feedback on a message, if its sender requested it.
    pub(super) fn add_feedback(
        &mut self,
        message: &NewMessage,
        status: FeedbackStatus,
        options: FeedbackOptions,
    ) {
        let Some(receiver) = self.identities.get(&message.id) else { return };
        if !is_requested(message.ack, status) {
            return;
        }
        let generation_id = receiver.identity.generation_id.clone();
        let message_id = message.properties.get(SystemProperty::MessageId).unwrap_or_default().to_owned();
        let record = FeedbackRecord::new(&message.id, generation_id, message_id, status, options.now);
        let (id, expiry) = (message.id.clone(), options.expiry);
        self.feedback.push(Feedback { id, expiry, delivery_count: 0, record });
        self.feedback.keep_newest(usize::try_from(options.limit).unwrap_or(usize::MAX));
    }

    /// Returns the oldest records after a sequence number.
    pub(super) fn oldest_feedback(&self, after: u64, top: usize) -> Vec<StoredFeedback> {
        let rows = self.feedback.rows.range(after.saturating_add(1)..);
        let stored = rows.map(|(sequence, Feedback { delivery_count, record, .. })| StoredFeedback {
            sequence: *sequence,
            delivery_count: *delivery_count,
            record: record.clone(),
        });
        stored.take(top).collect()
    }

    /// Counts a delivery of each record, and removes those that reach the maximum.
    pub(super) fn abandon_feedback(&mut self, sequences: &[u64], max_deliveries: u32) {
        for sequence in sequences {
            if let Some(stored) = self.feedback.rows.get_mut(sequence) {
                stored.delivery_count += 1;
                if is_exhausted(stored.delivery_count, max_deliveries) {
                    self.feedback.rows.remove(sequence);
                }
            }
        }
    }
}
