//! Feedback: the outcomes of messages, delivered to services in batches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::Timestamp;
use ferrohub_model::message::FeedbackRecord;
use tracing::debug;

use super::{LockToken, Queues, Settlement};
use crate::store::StoreError;
use crate::uncancelled::run_uncancelled;

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
}

impl FeedbackLocks {
    fn lock(&self) -> MutexGuard<'_, Vec<LockedBatch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let Some(first) = records.first() else { return Ok(None) };
        if records.len() < limits.batch && first.record.enqueued_time_utc.plus_millis(delay) > now {
            return Ok(None);
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
        Ok(Some(batch))
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
    }
}
