//! Message queues: enqueue, fetch, settle and purge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::IdentityId;
use ferrohub_model::message::FeedbackStatus;
use tracing::{debug, info};

use super::expiry::ExpiryTimer;
use super::feedback::FeedbackLocks;
use super::locks::{FetchLimit, LockOwner, Locks, Released};
use super::{LockToken, MessageLimits, Receiver};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::cloud_to_device::{
    AbandonOutcome, EnqueueOutcome, FeedbackOptions, MessageStore, NewMessage, QueueEntry, StoredMessage,
};
use crate::metrics::{Metrics, count};
use crate::store_error::StoreError;
use crate::uncancelled::run_uncancelled;

/// How a receiver settles a message or a feedback batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver has processed it.
    Complete,
    /// The receiver refuses it permanently.
    Reject,
    /// The receiver returns it to its old position in the queue, to be delivered again. After the maximum number of
    /// deliveries it is removed instead.
    Abandon,
}

/// A message that is locked for a device that received it over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedMessage {
    /// The token with which the device settles the message.
    pub token: LockToken,
    /// The message.
    pub message: StoredMessage,
}

/// All message queues of a hub, with the message locks.
pub(crate) struct Queues {
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: MessageLimits,
    pub(super) metrics: Metrics,
    pub(super) expiry_timer: ExpiryTimer,
    pub(super) feedback: FeedbackLocks,
    locks: Mutex<Locks>,
    next_receiver: AtomicU64,
}

impl Queues {
    pub(crate) fn new(
        store: Arc<dyn MessageStore>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        limits: MessageLimits,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            bus,
            clock,
            limits,
            metrics,
            expiry_timer: ExpiryTimer::default(),
            feedback: FeedbackLocks::default(),
            locks: Mutex::default(),
            next_receiver: AtomicU64::new(1),
        })
    }

    pub(super) fn locks(&self) -> MutexGuard<'_, Locks> {
        // A panic cannot leave `Locks` half changed, so a poisoned mutex is still usable.
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn feedback_options(&self) -> FeedbackOptions {
        let now = self.clock.now();
        let time_to_live = i64::try_from(self.limits.feedback.time_to_live.as_millis()).unwrap_or(i64::MAX);
        FeedbackOptions { now, expiry: now.plus_millis(time_to_live), limit: self.limits.feedback.records }
    }

    pub(super) fn record_outcome(&self, outcome: &'static str, messages: u64) {
        if messages > 0 {
            crate::metrics::counter(&self.metrics.messages, outcome).inc_by(messages);
        }
    }

    /// Enqueues messages in this order. They are persisted when this returns, and the connections of the devices have been
    /// notified. Returns an outcome for each.
    pub(crate) async fn enqueue(&self, messages: &[NewMessage]) -> Result<Vec<EnqueueOutcome>, StoreError> {
        let outcomes = self.store.enqueue_messages(messages, self.limits.queue_length).await?;
        for (message, outcome) in messages.iter().zip(&outcomes) {
            if let EnqueueOutcome::Done(sequence) = outcome {
                count(&self.metrics.messages, "queued");
                debug!(device = %message.id, sequence, bytes = message.body.len(), "message queued");
                self.expiry_timer.wake_by(message.expiry);
                self.bus.notify_messages(&message.id).await;
            }
        }
        Ok(outcomes)
    }

    /// Locks messages and reads them; also returns whether the limit left out further messages. Messages that were
    /// settled or expired between the query and the lock are not returned. Once locked, they cannot be: settling and
    /// expiry need the lock.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        id: &IdentityId,
        owner: LockOwner,
        limit: FetchLimit,
        wanted: impl Fn(&QueueEntry) -> bool,
    ) -> Result<(Vec<StoredMessage>, bool), StoreError> {
        let waiting = self.store.queued_messages(id).await?;
        if waiting.is_empty() {
            return Ok((Vec::new(), false));
        }
        let now = self.clock.now();
        let locked = self.locks().acquire(id, owner, waiting.into_iter().filter(&wanted), limit, now);
        if locked.sequences.is_empty() {
            return Ok((Vec::new(), locked.more));
        }
        // If this future is dropped or the read fails, the locks are released.
        let mut undelivered = UndeliveredLocks { queues: self, id, sequences: locked.sequences };
        let messages = self.store.messages(&undelivered.sequences).await?;
        undelivered
            .sequences
            .retain(|sequence| !messages.iter().any(|message| message.sequence == *sequence));
        drop(undelivered);
        self.record_outcome("delivered", messages.len() as u64);
        Ok((messages, locked.more))
    }

    /// Locks the oldest unlocked message for a device that receives over HTTPS.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        id: &IdentityId,
    ) -> Result<Option<LockedMessage>, StoreError> {
        loop {
            let token = LockToken::generate();
            let lock = i64::try_from(self.limits.lock.as_millis()).unwrap_or(i64::MAX);
            let until = self.clock.now().plus_millis(lock);
            let limit = FetchLimit { messages: 1, bytes: usize::MAX };
            let (messages, more) = self.fetch(id, LockOwner::Token { token, until }, limit, |_| true).await?;
            match messages.into_iter().next() {
                Some(message) => {
                    debug!(device = %id, sequence = message.sequence, "message delivered over HTTPS");
                    self.expiry_timer.wake_by(until);
                    return Ok(Some(LockedMessage { token, message }));
                }
                // The message was settled or expired meanwhile; try the next one.
                None if more => {}
                None => return Ok(None),
            }
        }
    }

    /// Settles the message that a device received with this token. Returns false if the lock has expired or never
    /// existed.
    pub(crate) async fn settle_with_token(
        self: &Arc<Self>,
        id: &IdentityId,
        token: LockToken,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        let begun = self.locks().begin_settle_with_token(id, token, self.clock.now());
        let Some(sequence) = begun else { return Ok(false) };
        Ok(self.write_settlement(id, vec![sequence], settlement).await? > 0)
    }

    /// Settles messages that a connection has locked. Other sequence numbers are ignored.
    pub(super) async fn settle(
        self: &Arc<Self>,
        id: &IdentityId,
        receiver: u64,
        sequences: &[u64],
        settlement: Settlement,
    ) -> Result<(), StoreError> {
        let mut begun = Vec::with_capacity(sequences.len());
        {
            let mut locks = self.locks();
            begun.extend(
                sequences.iter().copied().filter(|sequence| locks.begin_settle(id, receiver, *sequence)),
            );
        }
        if begun.is_empty() {
            return Ok(());
        }
        self.write_settlement(id, begun, settlement).await.map(drop)
    }

    /// Writes the outcome of messages, which stay locked meanwhile, and releases them. Returns how many of them still
    /// existed. Runs to completion even if the caller is cancelled.
    async fn write_settlement(
        self: &Arc<Self>,
        id: &IdentityId,
        sequences: Vec<u64>,
        settlement: Settlement,
    ) -> Result<u64, StoreError> {
        let (queues, id) = (self.clone(), id.clone());
        run_uncancelled(&self.metrics.panics, async move {
            // If the settlement panics, the locks are released.
            let mut settling = UndeliveredLocks { queues: &queues, id: &id, sequences };
            let written = queues.try_write_settlement(&id, &settling.sequences, settlement).await;
            let sequences = std::mem::take(&mut settling.sequences);
            let still_queued = settlement == Settlement::Abandon || written.is_err();
            let released = queues.locks().finish_settle(&id, &sequences, queues.clock.now());
            queues.notify_released(&id, &released, still_queued).await;
            written
        })
        .await
    }

    async fn try_write_settlement(
        &self,
        id: &IdentityId,
        sequences: &[u64],
        settlement: Settlement,
    ) -> Result<u64, StoreError> {
        let (outcome, status) = match settlement {
            Settlement::Complete => ("completed", FeedbackStatus::Success),
            Settlement::Reject => ("rejected", FeedbackStatus::Rejected),
            Settlement::Abandon => return self.abandon(id, sequences).await,
        };
        let ended = self.store.settle_messages(sequences, status, self.feedback_options()).await?;
        self.feedback.notify();
        self.record_outcome(outcome, ended);
        debug!(device = %id, ?sequences, outcome, "messages settled");
        Ok(ended)
    }

    async fn abandon(&self, id: &IdentityId, sequences: &[u64]) -> Result<u64, StoreError> {
        let mut found = 0;
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
                    self.feedback.notify();
                    count(&self.metrics.messages, "abandoned");
                    count(&self.metrics.messages, "dead_lettered");
                    info!(device = %id, sequence, "message dead-lettered: maximum delivery count exceeded");
                }
            }
            found += 1;
        }
        Ok(found)
    }

    /// Removes all messages from a queue. Returns how many, or `None` if the identity does not exist.
    pub(crate) async fn purge(&self, id: &IdentityId) -> Result<Option<u64>, StoreError> {
        let purged = self.store.purge_messages(id, self.feedback_options()).await?;
        if let Some(messages) = purged {
            self.feedback.notify();
            self.record_outcome("purged", messages);
            info!(device = %id, messages, "queue purged");
        }
        Ok(purged)
    }

    /// Creates the receiver for a connection.
    pub(crate) fn receiver(self: &Arc<Self>, id: &IdentityId) -> Receiver {
        Receiver::new(self.clone(), id.clone(), self.next_receiver.fetch_add(1, Ordering::Relaxed))
    }

    /// Notifies that released messages are available again. Does not block: for use in `drop`.
    pub(super) fn spawn_released(self: &Arc<Self>, id: &IdentityId, released: Released) {
        if released.messages == 0 {
            return;
        }
        let (queues, id) = (self.clone(), id.clone());
        // Without a runtime there are no connections to notify.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { queues.notify_released(&id, &released, true).await });
        }
    }

    /// Notifies after a release: the expiry task if a message has expired, and the connection if one waited for the
    /// release or the messages are available again (`still_queued`).
    pub(super) async fn notify_released(&self, id: &IdentityId, released: &Released, still_queued: bool) {
        if released.expired {
            self.expiry_timer.wake_now();
        }
        if released.had_waiter || (still_queued && released.messages > 0) {
            self.bus.notify_messages(id).await;
        }
    }
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
    }
}

/// Locks of messages that are not delivered yet. Dropping it releases them.
struct UndeliveredLocks<'a> {
    queues: &'a Arc<Queues>,
    id: &'a IdentityId,
    sequences: Vec<u64>,
}

impl Drop for UndeliveredLocks<'_> {
    fn drop(&mut self) {
        if !self.sequences.is_empty() {
            let now = self.queues.clock.now();
            let released = self.queues.locks().finish_settle(self.id, &self.sequences, now);
            self.queues.spawn_released(self.id, released);
        }
    }
}
