//! Feedback: the outcomes of messages, delivered to services in batches.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::Timestamp;
use ferrohub_model::message::FeedbackRecord;
use tokio::sync::Notify;
use tracing::debug;

use super::{LockToken, Queues, Settlement};
use crate::store_error::StoreError;
use crate::uncancelled::run_uncancelled;
use crate::waiting::wait;

/// A batch of records that a service has received and not settled yet.
#[derive(Debug)]
struct LockedBatch {
    token: LockToken,
    sequences: Vec<u64>,
    locked_until: Timestamp,
    /// The settlement is being written.
    settling: bool,
}

/// All locked batches.
#[derive(Debug, Default)]
pub(super) struct FeedbackLocks {
    batches: Mutex<Vec<LockedBatch>>,
    /// Serializes receivers, so that no record is in two batches.
    receive_lock: tokio::sync::Mutex<()>,
    /// Notified when there may be new records, or unlocked ones.
    changed: Notify,
}

impl FeedbackLocks {
    fn lock(&self) -> MutexGuard<'_, Vec<LockedBatch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the services that wait for feedback. Call it after records are stored or unlocked.
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Returns when the next lock expires.
    fn next_unlock(&self) -> Option<Timestamp> {
        self.lock().iter().filter(|batch| !batch.settling).map(|batch| batch.locked_until).min()
    }
}

/// The result of an attempt to receive feedback.
enum Attempt {
    Batch(FeedbackBatch),
    /// There is no batch. Without a notification, there is none before this time.
    Nothing(Option<Timestamp>),
}

/// A batch of feedback records, locked for the service that received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackBatch {
    /// The token with which the service settles the batch.
    pub token: LockToken,
    /// The lock expiry.
    pub locked_until: Timestamp,
    /// The sequence number of the first record. Larger than that of any earlier batch.
    pub sequence: u64,
    /// How often the first record was abandoned.
    pub delivery_count: u32,
    /// When the first record was created.
    pub enqueued: Timestamp,
    /// The outcomes, oldest first. Never empty.
    pub records: Vec<FeedbackRecord>,
}

impl Queues {
    /// Locks the oldest unlocked records as a batch. Returns `None` while they do not fill a batch and the oldest one
    /// has not waited for the configured delay.
    pub(crate) async fn receive_feedback(&self) -> Result<Option<FeedbackBatch>, StoreError> {
        Ok(match self.try_receive_feedback().await? {
            Attempt::Batch(batch) => Some(batch),
            Attempt::Nothing(_) => None,
        })
    }

    /// Waits until there is a batch, and locks it. While there is no record and no lock, nothing is read from the store.
    /// Cancel-safe: no batch stays locked.
    pub(crate) async fn next_feedback(&self) -> Result<FeedbackBatch, StoreError> {
        loop {
            let mut changed = pin!(self.feedback.changed.notified());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            match self.try_receive_feedback().await? {
                Attempt::Batch(batch) => return Ok(batch),
                Attempt::Nothing(ready) => wait(&*self.clock, changed, ready).await,
            }
        }
    }

    async fn try_receive_feedback(&self) -> Result<Attempt, StoreError> {
        let limits = &self.limits.feedback;
        let _one_at_a_time = self.feedback.receive_lock.lock().await;
        let locked: Vec<u64> = {
            let now = self.clock.now();
            let mut batches = self.feedback.lock();
            batches.retain(|batch| batch.settling || batch.locked_until > now);
            batches.iter().flat_map(|batch| batch.sequences.iter().copied()).collect()
        };
        let records = self.store.feedback(&locked, limits.batch).await?;
        let now = self.clock.now();
        let delay = i64::try_from(limits.delay.as_millis()).unwrap_or(i64::MAX);
        let unlock = self.feedback.next_unlock();
        let Some(first) = records.first() else { return Ok(Attempt::Nothing(unlock)) };
        let ready = first.record.enqueued_time_utc.plus_millis(delay);
        if records.len() < limits.batch && ready > now {
            return Ok(Attempt::Nothing(unlock.into_iter().chain([ready]).min()));
        }
        let lock = i64::try_from(limits.lock.as_millis()).unwrap_or(i64::MAX);
        let batch = FeedbackBatch {
            token: LockToken::generate(),
            locked_until: now.plus_millis(lock),
            sequence: first.sequence,
            delivery_count: first.delivery_count,
            enqueued: first.record.enqueued_time_utc,
            records: records.iter().map(|record| record.record.clone()).collect(),
        };
        self.feedback.lock().push(LockedBatch {
            token: batch.token,
            sequences: records.iter().map(|record| record.sequence).collect(),
            locked_until: batch.locked_until,
            settling: false,
        });
        debug!(records = batch.records.len(), "feedback delivered");
        Ok(Attempt::Batch(batch))
    }

    /// Unlocks the batch with this token, as if it had not been received. Has no effect if the lock has expired or the batch
    /// is being settled.
    pub(crate) fn release_feedback(&self, token: LockToken) {
        self.feedback.lock().retain(|batch| batch.token != token || batch.settling);
        self.feedback.notify();
    }

    /// Settles the batch with this token. Returns false if the lock has expired or never existed. Completing or
    /// rejecting a batch deletes its records. Runs to completion even if the caller is cancelled.
    pub(crate) async fn settle_feedback(
        self: &Arc<Self>,
        token: LockToken,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let sequences = {
            let mut batches = self.feedback.lock();
            let found = batches
                .iter_mut()
                .find(|batch| batch.token == token && batch.locked_until > now && !batch.settling);
            let Some(batch) = found else { return Ok(false) };
            batch.settling = true;
            batch.sequences.clone()
        };
        let queues = self.clone();
        run_uncancelled(&self.metrics.panics, async move {
            let _settling = SettlingBatch { queues: &queues, token };
            let max_deliveries = queues.limits.feedback.max_deliveries;
            let written = match settlement {
                Settlement::Complete | Settlement::Reject => queues.store.complete_feedback(&sequences).await,
                Settlement::Abandon => queues.store.abandon_feedback(&sequences, max_deliveries).await,
            };
            written.map(|()| true)
        })
        .await
    }
}

/// A batch whose settlement is being written. Dropping it, also in a panic, releases the records that are still stored.
struct SettlingBatch<'a> {
    queues: &'a Queues,
    token: LockToken,
}

impl Drop for SettlingBatch<'_> {
    fn drop(&mut self) {
        self.queues.feedback.lock().retain(|batch| batch.token != self.token);
        self.queues.feedback.notify();
    }
}
