//! Feedback: the outcomes of messages, delivered to services in batches.

use std::sync::Arc;

use ferrohub_model::Timestamp;
use ferrohub_model::message::FeedbackRecord;
use tracing::debug;

use super::{FeedbackLimits, MessageStore, Settlement, StoredFeedback};
use crate::clock::Clock;
use crate::delivery::{
    Attempt, Entry, HandOut, HandOutLimit, LockToken, PeekLock, QueueKind, Recipient, Released, Waiters,
    Written,
};
use crate::metrics::Outcomes;
use crate::store_error::StoreError;
use crate::uncancelled::run_uncancelled;

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

/// The only queue of feedback. A batch of records is locked with one token.
pub(super) struct FeedbackQueue {
    store: Arc<dyn MessageStore>,
    clock: Arc<dyn Clock>,
    limits: FeedbackLimits,
    panics: Outcomes,
    waiters: Waiters,
}

impl QueueKind for FeedbackQueue {
    type Key = ();
    type Outcome = Settlement;
    type Error = StoreError;

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn panics(&self) -> &Outcomes {
        &self.panics
    }

    /// Completing or rejecting records deletes them.
    async fn write(&self, (): &(), sequences: &[u64], settlement: Settlement) -> Result<Written, StoreError> {
        match settlement {
            Settlement::Complete | Settlement::Reject => self.store.complete_feedback(sequences).await?,
            Settlement::Abandon => {
                self.store.abandon_feedback(sequences, self.limits.max_deliveries).await?;
            }
        }
        Ok(Written { items: sequences.len() as u64, available: settlement == Settlement::Abandon })
    }

    fn on_released(&self, (): &(), released: Released) {
        if released.available {
            self.notify();
        }
    }
}

/// Records that are locked for a receiver, and not delivered yet.
type HandedOut = (HandOut<FeedbackQueue>, Vec<StoredFeedback>);

impl FeedbackQueue {
    pub(super) fn new(
        store: Arc<dyn MessageStore>,
        clock: Arc<dyn Clock>,
        limits: FeedbackLimits,
        panics: Outcomes,
    ) -> Self {
        Self { store, clock, limits, panics, waiters: Waiters::default() }
    }

    /// Wakes the services that wait for feedback. Call it after records are stored.
    pub(super) fn notify(&self) {
        self.waiters.notify();
    }
}

impl PeekLock<FeedbackQueue> {
    /// Locks the oldest unlocked records as a batch. Returns `None` while they do not fill a batch and the oldest one
    /// has not waited for the configured delay.
    pub(super) async fn receive(self: &Arc<Self>) -> Result<Option<FeedbackBatch>, StoreError> {
        Ok(self.try_receive().await?.received())
    }

    /// Waits until there is a batch, and locks it. While there is no record and no lock, nothing is read from the store.
    /// Cancel-safe: no batch stays locked.
    pub(super) async fn next(self: &Arc<Self>) -> Result<FeedbackBatch, StoreError> {
        let FeedbackQueue { clock, waiters, .. } = self.queue();
        loop {
            let waiting = waiters.begin();
            // Boxed: links wait for days, and need no memory for the attempt meanwhile.
            match Box::pin(self.try_receive()).await? {
                Attempt::Received(batch) => return Ok(batch),
                Attempt::Nothing(ready) => waiting.wait(&**clock, ready).await,
            }
        }
    }

    async fn try_receive(self: &Arc<Self>) -> Result<Attempt<FeedbackBatch>, StoreError> {
        loop {
            let peek_lock = self.clone();
            // In a task of its own: a receiver that is not polled for a while must not keep its turn.
            let found = run_uncancelled(self.queue().panics(), async move { peek_lock.hand_out().await });
            let (handed_out, records) = match found.await? {
                Attempt::Received(found) => found,
                Attempt::Nothing(ready) => return Ok(Attempt::Nothing(ready)),
            };
            let (lock, first) = (handed_out.lock, records.first());
            let (Some((token, locked_until)), Some(first)) = (lock, first) else { continue };
            let (sequence, delivery_count, enqueued) =
                (first.sequence, first.delivery_count, first.record.enqueued_time_utc);
            if handed_out.sequences().len() < records.len() || handed_out.keep(|_| true).is_empty() {
                // Some of them have just been settled or released.
                continue;
            }
            debug!(records = records.len(), "feedback delivered");
            return Ok(Attempt::Received(FeedbackBatch {
                token,
                locked_until,
                sequence,
                delivery_count,
                enqueued,
                records: records.into_iter().map(|record| record.record).collect(),
            }));
        }
    }

    /// Locks the oldest unlocked records as a batch. Dropping what is returned releases them.
    async fn hand_out(self: &Arc<Self>) -> Result<Attempt<HandedOut>, StoreError> {
        let FeedbackQueue { store, clock, limits, waiters, .. } = self.queue();
        let _turn = waiters.turn().await;
        let reading = self.read(&());
        let records = reading
            .unlocked(
                limits.batch,
                |stored: &StoredFeedback| stored.sequence,
                |after, top| store.feedback(after, top),
            )
            .await?;
        let Some(first) = records.first() else { return Ok(Attempt::Nothing(self.next_timeout())) };
        let delay = i64::try_from(limits.delay.as_millis()).unwrap_or(i64::MAX);
        let ready = first.record.enqueued_time_utc.plus_millis(delay);
        if records.len() < limits.batch && ready > clock.now() {
            return Ok(Attempt::Nothing(self.next_timeout().into_iter().chain([ready]).min()));
        }
        let entries: Vec<Entry> = records.iter().map(entry).collect();
        let limit = HandOutLimit { items: records.len(), bytes: usize::MAX, max_deliveries: u32::MAX };
        Ok(Attempt::Received((reading.hand_out(Recipient::Token(limits.lock), &entries, limit), records)))
    }

    /// Unlocks the batch with this token, as if it had not been received. Has no effect if the lock has expired or the batch
    /// is being settled.
    pub(super) fn release(&self, token: LockToken) {
        self.release_token(&(), token);
    }

    /// Settles the batch with this token. Returns false if the lock has expired or never existed. Runs to completion even
    /// if the caller is cancelled.
    pub(super) async fn settle(
        self: &Arc<Self>,
        token: LockToken,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        Ok(self.settle_with_token(&(), token, settlement).await?.is_some())
    }
}

/// Records expire in the store, whether they are locked or not. Their deliveries are counted when they are abandoned.
fn entry(record: &StoredFeedback) -> Entry {
    Entry { sequence: record.sequence, expiry: None, size: 0, deliveries: 0 }
}
