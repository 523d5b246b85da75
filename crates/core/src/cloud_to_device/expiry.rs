//! Expiry of messages, message locks and feedback.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ferrohub_model::Timestamp;
use ferrohub_model::message::FeedbackStatus;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Queues;
use crate::background::{LeaseState, Stop, TaskLease};
use crate::cloud_to_device::ExpiredMessage;
use crate::store_error::StoreError;

/// Maximum number of messages that expire in one step.
const BATCH_SIZE: usize = 256;
/// Delay after an error of the store.
const RETRY_DELAY: Duration = Duration::from_secs(10);
/// Maximum sleep, because the wall clock may be changed meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Wakes the expiry task when the next message, lock or feedback record expires.
#[derive(Debug)]
pub(super) struct ExpiryTimer {
    /// The time of the next wake-up, in milliseconds since 1970.
    wake_at_millis: AtomicI64,
    notify: Notify,
}

impl Default for ExpiryTimer {
    fn default() -> Self {
        Self { wake_at_millis: AtomicI64::new(i64::MAX), notify: Notify::new() }
    }
}

impl ExpiryTimer {
    /// Wakes the task: something has expired.
    pub(super) fn wake_now(&self) {
        self.notify.notify_one();
    }

    /// Makes sure that the task runs at `moment`. Call it after the expiring item is stored or locked.
    pub(super) fn wake_by(&self, moment: Timestamp) {
        if moment.unix_millis() < self.wake_at_millis.load(Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }
}

/// Expires messages, locks and feedback until it is stopped. The node that holds `lease` expires what is stored; locks are
/// expired by the node that has them.
pub(crate) async fn run(queues: Arc<Queues>, lease: Arc<TaskLease>, mut stop: Stop) {
    while !stop.is_requested() {
        // From here on, a new item either wakes this task or is found by `expire_due`.
        queues.queue().expiry_timer.wake_at_millis.store(i64::MAX, Ordering::SeqCst);
        let next = match queues.expire_due(&lease).await {
            Ok(next) => next,
            Err(error) => {
                warn!(%error, "cannot expire messages; retrying");
                let _ = stop.requested_within(RETRY_DELAY).await;
                continue;
            }
        };
        let next = next.map_or(i64::MAX, Timestamp::unix_millis);
        queues.queue().expiry_timer.wake_at_millis.store(next, Ordering::SeqCst);
        // Nothing expires by itself: the next item wakes the task.
        let left = (next != i64::MAX).then(|| next.saturating_sub(queues.queue().clock.now().unix_millis()));
        let due = async {
            match left {
                Some(left) => {
                    sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(MAX_SLEEP)).await
                }
                None => pending().await,
            }
        };
        tokio::select! {
            () = queues.queue().expiry_timer.notify.notified() => {}
            () = due => {}
            () = stop.requested() => {}
        }
    }
    lease.release().await;
}

impl Queues {
    /// Expires everything that is due. Returns the time of the next expiry.
    async fn expire_due(&self, lease: &TaskLease) -> Result<Option<Timestamp>, StoreError> {
        self.messages.time_out();
        let now = self.queue().clock.now();
        let stored = match lease.hold().await? {
            LeaseState::Held => self.expire_stored(now).await?,
            LeaseState::HeldElsewhere { retry_after } => {
                let millis = i64::try_from(retry_after.as_millis()).unwrap_or(i64::MAX);
                Some(now.plus_millis(millis))
            }
        };
        Ok(stored.into_iter().chain(self.messages.next_timeout()).min())
    }

    /// Expires the messages and the feedback in the store that are due. Returns the time of the next expiry.
    async fn expire_stored(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let store = &self.queue().store;
        let mut after = (Timestamp::MIN, 0);
        loop {
            let due = store.expired_messages(now, after, BATCH_SIZE).await?;
            let Some(last) = due.last() else { break };
            after = (last.expiry, last.sequence);
            self.expire_messages(due).await?;
        }
        let expired = store.expire_feedback(now).await?;
        if expired > 0 {
            info!(records = expired, "feedback expired without being received");
        }
        store.next_expiry(now).await
    }

    /// Expires those messages that are not locked. The others are checked again when their locks are released. If this fails or
    /// panics, none stays locked, and the next attempt finds them.
    async fn expire_messages(&self, due: Vec<ExpiredMessage>) -> Result<(), StoreError> {
        let queue = self.queue();
        let due = due.into_iter().map(|due| (due.id, due.sequence, due.expiry));
        let locked = self.messages.lock_for_hub(due);
        let sequences = locked.sequences();
        if sequences.is_empty() {
            return Ok(());
        }
        let options = queue.feedback_options();
        let ended = queue.store.settle_messages(&sequences, FeedbackStatus::Expired, options).await?;
        drop(locked);
        queue.feedback.queue().notify();
        queue.record_outcome("expired", ended);
        info!(messages = ended, "messages expired");
        Ok(())
    }
}
