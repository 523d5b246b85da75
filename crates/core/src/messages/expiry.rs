//! Messages, locks and feedback whose time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{IdentityId, Timestamp};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Queues;
use crate::store::{ExpiredMessage, StoreError};

/// Messages that are ended in one step.
const BATCH_SIZE: usize = 256;
/// How long to wait when the store failed.
const RETRY_DELAY: Duration = Duration::from_secs(10);
/// No sleep is longer: a wall clock may be set.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Wakes the one task that ends what is past its time, and no earlier than it must.
#[derive(Debug)]
pub(super) struct ExpiryTimer {
    /// For when it is set, in milliseconds since 1970.
    wake_at_millis: AtomicI64,
    notify: Notify,
}

impl Default for ExpiryTimer {
    fn default() -> Self {
        Self { wake_at_millis: AtomicI64::new(i64::MAX), notify: Notify::new() }
    }
}

impl ExpiryTimer {
    /// Something's time is up already.
    pub(super) fn wake_now(&self) {
        self.notify.notify_one();
    }

    /// Something's time is up then. Call it once that can be found.
    pub(super) fn wake_by(&self, moment: Timestamp) {
        if moment.unix_millis() < self.wake_at_millis.load(Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }
}

/// Ends what is past its time, for ever.
pub(crate) async fn run(queues: Arc<Queues>) {
    loop {
        // Whoever puts something in from here on rings, or is found by the look that follows.
        queues.expiry_timer.wake_at_millis.store(i64::MAX, Ordering::SeqCst);
        let next = match queues.expire_due().await {
            Ok(next) => next,
            Err(StoreError::Closed) => return,
            Err(error) => {
                warn!(%error, "messages whose time is up could not be ended; trying again");
                sleep(RETRY_DELAY).await;
                continue;
            }
        };
        let next = next.map_or(i64::MAX, Timestamp::unix_millis);
        queues.expiry_timer.wake_at_millis.store(next, Ordering::SeqCst);
        if next == i64::MAX {
            queues.expiry_timer.notify.notified().await;
            continue;
        }
        let left = next.saturating_sub(queues.clock.now().unix_millis());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(MAX_SLEEP);
        tokio::select! {
            () = queues.expiry_timer.notify.notified() => {}
            () = sleep(left) => {}
        }
    }
}

impl Queues {
    /// When to look again.
    async fn expire_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let unlocked = self.locks().expire_locks(now);
        for id in &unlocked {
            debug!(device = %id, "a message's lock ran out");
            self.bus.notify_messages(id).await;
        }
        let mut after = (Timestamp::MIN, 0);
        loop {
            let due = self.store.expired_messages(now, after, BATCH_SIZE).await?;
            let Some(last) = due.last() else { break };
            after = (last.expiry, last.sequence);
            self.expire_messages(&due).await?;
        }
        let forgotten = self.store.expire_feedback(now).await?;
        if forgotten > 0 {
            info!(records = forgotten, "feedback that nobody heard is forgotten");
        }
        let next = self.store.next_expiry(now).await?;
        Ok(next.into_iter().chain(self.locks().next_expiry()).min())
    }

    /// Ends those that are in nobody's hands. The others are looked at again when they are let go.
    async fn expire_messages(&self, due: &[ExpiredMessage]) -> Result<(), StoreError> {
        let locked: Vec<&ExpiredMessage> = {
            let mut locks = self.locks();
            due.iter().filter(|due| locks.acquire_expired(&due.id, due.sequence, due.expiry)).collect()
        };
        if locked.is_empty() {
            return Ok(());
        }
        let sequences: Vec<u64> = locked.iter().map(|due| due.sequence).collect();
        let ended =
            self.store.settle_messages(&sequences, FeedbackStatus::Expired, self.feedback_options()).await;
        let now = self.clock.now();
        let released: Vec<(&IdentityId, _)> = {
            let mut locks = self.locks();
            locked.iter().map(|due| (&due.id, locks.finish_settle(&due.id, &[due.sequence], now))).collect()
        };
        for (id, released) in released.iter().filter(|(_, released)| released.had_waiter) {
            self.notify_released(id, released, false).await;
        }
        let ended = ended?;
        self.record_outcome("expired", ended);
        info!(messages = ended, "messages expired");
        Ok(())
    }
}
