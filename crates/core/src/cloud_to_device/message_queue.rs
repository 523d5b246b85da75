//! The queues of messages: how the outcome of a message is written, and who is told when its lock ends.

use std::sync::Arc;

use ferrohub_model::IdentityId;
use ferrohub_model::message::FeedbackStatus;
use tokio::runtime::Handle;
use tracing::{debug, info};

use super::expiry::ExpiryTimer;
use super::feedback::FeedbackQueue;
use super::{AbandonOutcome, FeedbackOptions, MessageLimits, MessageStore, Settlement};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::delivery::{PeekLock, QueueKind, Released, Written};
use crate::metrics::{Metrics, Outcomes, count, counter};
use crate::store_error::StoreError;

/// The queues of messages, one for each device and module.
pub(super) struct MessageQueue {
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: MessageLimits,
    pub(super) metrics: Metrics,
    pub(super) expiry_timer: ExpiryTimer,
    pub(super) feedback: Arc<PeekLock<FeedbackQueue>>,
}

impl QueueKind for MessageQueue {
    type Key = IdentityId;
    type Outcome = Settlement;
    type Error = StoreError;

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn panics(&self) -> &Outcomes {
        &self.metrics.panics
    }

    async fn write(
        &self,
        id: &IdentityId,
        sequences: &[u64],
        settlement: Settlement,
    ) -> Result<Written, StoreError> {
        let (outcome, status) = match settlement {
            Settlement::Complete => ("completed", FeedbackStatus::Success),
            Settlement::Reject => ("rejected", FeedbackStatus::Rejected),
            Settlement::Abandon => return self.abandon(id, sequences).await,
        };
        let ended = self.store.settle_messages(sequences, status, self.feedback_options()).await?;
        self.feedback.queue().notify();
        self.record_outcome(outcome, ended);
        debug!(device = %id, ?sequences, outcome, "messages settled");
        Ok(Written { items: ended, available: false })
    }

    /// Wakes the expiry task if a message has expired, and the connection if it waited for the release or messages are available
    /// again.
    fn on_released(&self, id: &IdentityId, released: Released) {
        if released.timed_out {
            debug!(device = %id, "message lock expired");
        }
        if released.expired {
            self.expiry_timer.wake_now();
        }
        // Without a runtime there are no connections to notify.
        if (released.had_waiter || released.available)
            && let Ok(runtime) = Handle::try_current()
        {
            let (bus, id) = (self.bus.clone(), id.clone());
            runtime.spawn(async move { bus.notify_messages(&id).await });
        }
    }
}

impl MessageQueue {
    pub(super) fn feedback_options(&self) -> FeedbackOptions {
        let now = self.clock.now();
        let time_to_live = i64::try_from(self.limits.feedback.time_to_live.as_millis()).unwrap_or(i64::MAX);
        FeedbackOptions { now, expiry: now.plus_millis(time_to_live), limit: self.limits.feedback.records }
    }

    pub(super) fn record_outcome(&self, outcome: &'static str, messages: u64) {
        if messages > 0 {
            counter(&self.metrics.messages, outcome).inc_by(messages);
        }
    }

    async fn abandon(&self, id: &IdentityId, sequences: &[u64]) -> Result<Written, StoreError> {
        let mut items = 0;
        for sequence in sequences {
            match self
                .store
                .abandon_message(*sequence, self.limits.max_deliveries, self.feedback_options())
                .await?
            {
                AbandonOutcome::NotFound => continue,
                AbandonOutcome::Requeued => {
                    count(&self.metrics.messages, "abandoned");
                    debug!(device = %id, sequence, "message abandoned");
                }
                AbandonOutcome::DeadLettered => {
                    self.feedback.queue().notify();
                    count(&self.metrics.messages, "abandoned");
                    count(&self.metrics.messages, "dead_lettered");
                    info!(device = %id, sequence, "message dead-lettered: maximum delivery count exceeded");
                }
            }
            items += 1;
        }
        Ok(Written { items, available: true })
    }
}
