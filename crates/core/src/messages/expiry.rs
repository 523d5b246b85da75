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
use crate::store::{Due, StoreError};

/// Messages that are ended in one step.
const STEP: usize = 256;
/// How long to wait when the store failed.
const RETRY: Duration = Duration::from_secs(10);
/// No sleep is longer: a wall clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Wakes the one task that ends what is past its time, and no earlier than it must.
#[derive(Debug)]
pub(super) struct Alarm {
    /// For when it is set, in milliseconds since 1970.
    set: AtomicI64,
    ring: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { set: AtomicI64::new(i64::MAX), ring: Notify::new() }
    }
}

impl Alarm {
    /// Something's time is up then. Call it once that can be found.
    pub(super) fn not_later_than(&self, moment: Timestamp) {
        if moment.unix_millis() < self.set.load(Ordering::SeqCst) {
            self.ring.notify_one();
        }
    }
}

/// Ends what is past its time, for ever.
pub(crate) async fn run(queues: Arc<Queues>) {
    loop {
        // Whoever puts something in from here on rings, or is found by the look that follows.
        queues.alarm.set.store(i64::MAX, Ordering::SeqCst);
        let next = match queues.end_what_is_due().await {
            Ok(next) => next,
            Err(StoreError::Closed) => return,
            Err(cause) => {
                warn!(%cause, "messages whose time is up could not be ended; trying again");
                sleep(RETRY).await;
                continue;
            }
        };
        let next = next.map_or(i64::MAX, Timestamp::unix_millis);
        queues.alarm.set.store(next, Ordering::SeqCst);
        if next == i64::MAX {
            queues.alarm.ring.notified().await;
            continue;
        }
        let left = next.saturating_sub(queues.clock.now().unix_millis());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(LONGEST_SLEEP);
        tokio::select! {
            () = queues.alarm.ring.notified() => {}
            () = sleep(left) => {}
        }
    }
}

impl Queues {
    /// When to look again.
    async fn end_what_is_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let unlocked = self.holds().expire_locks(now);
        for id in &unlocked {
            debug!(device = %id, "a message's lock ran out");
            self.bus.notify_messages(id).await;
        }
        let mut after = (Timestamp::NEVER, 0);
        loop {
            let due = self.store.due_messages(now, after, STEP).await?;
            let Some(last) = due.last() else { break };
            after = (last.expiry, last.sequence);
            self.expire(&due).await?;
        }
        let forgotten = self.store.expire_feedback(now).await?;
        if forgotten > 0 {
            info!(records = forgotten, "feedback that nobody heard is forgotten");
        }
        let next = self.store.next_expiry(now).await?;
        Ok(next.into_iter().chain(self.holds().next_lock()).min())
    }

    /// Ends those that are in nobody's hands. The others are looked at again when they are let go.
    async fn expire(&self, due: &[Due]) -> Result<(), StoreError> {
        let taken: Vec<&Due> = {
            let mut holds = self.holds();
            due.iter().filter(|due| holds.take_expired(&due.id, due.sequence, due.expiry)).collect()
        };
        if taken.is_empty() {
            return Ok(());
        }
        let sequences: Vec<u64> = taken.iter().map(|due| due.sequence).collect();
        let ended = self.store.end_messages(&sequences, FeedbackStatus::Expired, self.terms()).await;
        let now = self.clock.now();
        let freed: Vec<(&IdentityId, _)> = {
            let mut holds = self.holds();
            taken.iter().map(|due| (&due.id, holds.settled(&due.id, &[due.sequence], now))).collect()
        };
        for (id, freed) in freed.iter().filter(|(_, freed)| freed.awaited) {
            self.freed(id, freed, false).await;
        }
        let ended = ended?;
        self.count("expired", ended);
        info!(messages = ended, "messages expired");
        Ok(())
    }
}
