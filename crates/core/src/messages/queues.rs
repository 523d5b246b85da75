//! The queues: what is put in, taken in hand, and brought to its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::IdentityId;
use ferrohub_model::message::FeedbackStatus;
use tracing::{debug, error, info};

use super::expiry::ExpiryTimer;
use super::feedback::FeedbackLocks;
use super::locks::{FetchLimit, LockOwner, Locks, Released};
use super::{LockToken, MessageLimits, Receiver};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::metrics::{Metrics, count};
use crate::store::{
    AbandonOutcome, EnqueueOutcome, FeedbackOptions, NewMessage, QueueEntry, Store, StoreError, StoredMessage,
};

/// What a device does with a message that it received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is done with it.
    Complete,
    /// It does not want it, ever.
    Reject,
    /// It gives it back: the message waits in its old place, if it was not given back too often.
    Abandon,
}

/// A message in the hands of a device that received it over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedMessage {
    /// With which the device settles it.
    pub token: LockToken,
    /// The message.
    pub message: StoredMessage,
}

/// All queues of a hub, and what is in whose hands.
pub(crate) struct Queues {
    pub(super) store: Arc<dyn Store>,
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
        store: Arc<dyn Store>,
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
        // Nothing in there panics half-way through a change, so a poisoned lock is still a sound one.
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

    /// Puts a message in its queue. It is on disk when this returns, and the device is told that it is there.
    pub(crate) async fn enqueue(&self, message: &NewMessage) -> Result<EnqueueOutcome, StoreError> {
        let enqueued = self.store.enqueue_message(message, self.limits.queue_length).await?;
        if let EnqueueOutcome::Done(sequence) = enqueued {
            count(&self.metrics.messages, "queued");
            debug!(device = %message.id, sequence, bytes = message.body.len(), "message queued");
            self.expiry_timer.wake_by(message.expiry);
            self.bus.notify_messages(&message.id).await;
        }
        Ok(enqueued)
    }

    /// Takes messages in hand. Those that have come to their end between the look and the hold are not among them:
    /// whoever ends a message holds it.
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
        // Whoever stops waiting for this must not leave them held for ever.
        let mut undelivered = UndeliveredLocks { queues: self, id, sequences: locked.sequences };
        let messages = self.store.messages(&undelivered.sequences).await?;
        undelivered
            .sequences
            .retain(|sequence| !messages.iter().any(|message| message.sequence == *sequence));
        drop(undelivered);
        self.record_outcome("delivered", messages.len() as u64);
        Ok((messages, locked.more))
    }

    /// The oldest message that nobody holds, for a device that asks over HTTPS.
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
                // The one that was there came to its end just now: the next.
                None if more => {}
                None => return Ok(None),
            }
        }
    }

    /// Settles the message that a device received with this token. False if the lock has run out, or never was.
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

    /// Settles messages that a connection holds; others are passed over.
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

    /// Writes what becomes of messages that nobody else can take meanwhile, and lets go of them. How many were still
    /// there. Once begun it goes on to its end, whether or not anybody waits for it.
    async fn write_settlement(
        self: &Arc<Self>,
        id: &IdentityId,
        sequences: Vec<u64>,
        settlement: Settlement,
    ) -> Result<u64, StoreError> {
        let (queues, id) = (self.clone(), id.clone());
        let written = tokio::spawn(async move {
            let written = queues.try_write_settlement(&id, &sequences, settlement).await;
            let back = settlement == Settlement::Abandon || written.is_err();
            let released = queues.locks().finish_settle(&id, &sequences, queues.clock.now());
            queues.notify_released(&id, &released, back).await;
            written
        });
        written.await.unwrap_or_else(|error| {
            error!(%error, "what became of a message was not written");
            Err(StoreError::Failed(Box::new(error)))
        })
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
                    debug!(device = %id, sequence, "message given back");
                }
                AbandonOutcome::DeadLettered => {
                    count(&self.metrics.messages, "abandoned");
                    count(&self.metrics.messages, "dead_lettered");
                    info!(device = %id, sequence, "message given back too often");
                }
            }
            found += 1;
        }
        Ok(found)
    }

    /// Throws away a queue; how many messages were in it. `None` if the identity is not there.
    pub(crate) async fn purge(&self, id: &IdentityId) -> Result<Option<u64>, StoreError> {
        let purged = self.store.purge_messages(id, self.feedback_options()).await?;
        if let Some(messages) = purged {
            self.record_outcome("purged", messages);
            info!(device = %id, messages, "queue purged");
        }
        Ok(purged)
    }

    /// What a connection takes messages with.
    pub(crate) fn receiver(self: &Arc<Self>, id: &IdentityId) -> Receiver {
        Receiver::new(self.clone(), id.clone(), self.next_receiver.fetch_add(1, Ordering::Relaxed))
    }

    /// Messages wait again in their old place. For those who cannot wait for that.
    pub(super) fn spawn_released(self: &Arc<Self>, id: &IdentityId, released: Released) {
        if released.messages == 0 {
            return;
        }
        let (queues, id) = (self.clone(), id.clone());
        // Without a runtime nobody is there to be told.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { queues.notify_released(&id, &released, true).await });
        }
    }

    /// Messages were let go. Tells whoever may want them: always if they wait again (`back`).
    pub(super) async fn notify_released(&self, id: &IdentityId, released: &Released, back: bool) {
        if released.expired {
            self.expiry_timer.wake_now();
        }
        if released.had_waiter || (back && released.messages > 0) {
            self.bus.notify_messages(id).await;
        }
    }
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
    }
}

/// Messages that are held for somebody who does not have them yet.
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
