//! Message queues: enqueue, fetch, settle and purge.

use std::sync::Arc;

use ferrohub_model::{IdentityId, Timestamp};
use tracing::{debug, info};

use super::expiry::ExpiryTimer;
use super::feedback::FeedbackQueue;
use super::message_queue::MessageQueue;
use super::{EnqueueOutcome, MessageLimits, MessageStore, NewMessage, QueueEntry, Receiver, StoredMessage};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::delivery::{Entry, HandOutLimit, LockToken, PeekLock, Recipient};
use crate::metrics::{Metrics, count};
use crate::store_error::StoreError;

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

/// Messages that were locked and read.
#[derive(Debug, Default)]
pub(super) struct FetchedMessages {
    /// The messages, oldest first.
    pub(super) messages: Vec<StoredMessage>,
    /// Whether there may be further messages.
    pub(super) more: bool,
    /// The token that settles them and its expiry, if there are any and the receiver has no connection.
    lock: Option<(LockToken, Timestamp)>,
}

/// The message queues of a hub and their feedback, with the locks of both.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(super) messages: Arc<PeekLock<MessageQueue>>,
    pub(super) feedback: Arc<PeekLock<FeedbackQueue>>,
}

impl Queues {
    pub(crate) fn new(
        store: Arc<dyn MessageStore>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        limits: MessageLimits,
        metrics: Metrics,
    ) -> Arc<Self> {
        let feedback = PeekLock::new(FeedbackQueue::new(
            store.clone(),
            clock.clone(),
            limits.feedback.clone(),
            metrics.panics.clone(),
        ));
        let messages = PeekLock::new(MessageQueue {
            store,
            bus,
            clock,
            limits,
            metrics,
            expiry_timer: ExpiryTimer::default(),
            feedback: feedback.clone(),
        });
        Arc::new(Self { messages, feedback })
    }

    pub(super) fn queue(&self) -> &MessageQueue {
        self.messages.queue()
    }

    /// Enqueues messages in this order. They are persisted when this returns, and the connections of the devices have been
    /// notified. Returns an outcome for each.
    pub(crate) async fn enqueue(&self, messages: &[NewMessage]) -> Result<Vec<EnqueueOutcome>, StoreError> {
        let MessageQueue { store, bus, limits, metrics, expiry_timer, .. } = self.queue();
        let outcomes = store.enqueue_messages(messages, limits.queue_length).await?;
        for (message, outcome) in messages.iter().zip(&outcomes) {
            if let EnqueueOutcome::Done(sequence) = outcome {
                count(&metrics.messages, "queued");
                debug!(device = %message.id, sequence, bytes = message.body.len(), "message queued");
                expiry_timer.wake_by(message.expiry);
                bus.notify_messages(&message.id).await;
            }
        }
        Ok(outcomes)
    }

    /// Locks messages and reads them. Bodies are read only of messages that are locked: they cannot be settled or expire any more,
    /// but may have been purged.
    pub(super) async fn fetch(
        &self,
        id: &IdentityId,
        recipient: Recipient<'_, MessageQueue>,
        (items, bytes): (usize, usize),
        wanted: impl Fn(&QueueEntry) -> bool,
    ) -> Result<FetchedMessages, StoreError> {
        let queue = self.queue();
        let reading = self.messages.read(id);
        let waiting = queue.store.queued_messages(id).await?;
        if waiting.is_empty() {
            return Ok(FetchedMessages::default());
        }
        let entries: Vec<Entry> = waiting.iter().filter(|message| wanted(message)).map(entry).collect();
        let limit = HandOutLimit { items, bytes, max_deliveries: u32::MAX };
        let handed_out = reading.hand_out(recipient, &entries, limit);
        let (more, lock) = (handed_out.more, handed_out.lock);
        if handed_out.sequences().is_empty() {
            return Ok(FetchedMessages { more, ..FetchedMessages::default() });
        }
        let mut messages = queue.store.messages(handed_out.sequences()).await?;
        let kept = handed_out.keep(|sequence| messages.iter().any(|message| message.sequence == sequence));
        messages.retain(|message| kept.contains(&message.sequence));
        queue.record_outcome("delivered", messages.len() as u64);
        Ok(FetchedMessages { messages, more, lock })
    }

    /// Locks the oldest unlocked message for a device that receives over HTTPS.
    pub(crate) async fn receive(&self, id: &IdentityId) -> Result<Option<LockedMessage>, StoreError> {
        loop {
            let recipient = Recipient::Token(self.queue().limits.lock);
            let fetched = self.fetch(id, recipient, (1, usize::MAX), |_| true).await?;
            match (fetched.messages.into_iter().next(), fetched.lock) {
                (Some(message), Some((token, until))) => {
                    debug!(device = %id, sequence = message.sequence, "message delivered over HTTPS");
                    self.queue().expiry_timer.wake_by(until);
                    return Ok(Some(LockedMessage { token, message }));
                }
                // The message was settled, purged or released meanwhile; try the next one.
                _ if fetched.more => {}
                _ => return Ok(None),
            }
        }
    }

    /// Settles the message that a device received with this token. Returns false if the lock has expired or never
    /// existed.
    pub(crate) async fn settle_with_token(
        &self,
        id: &IdentityId,
        token: LockToken,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        Ok(self.messages.settle_with_token(id, token, settlement).await?.is_some_and(|settled| settled > 0))
    }

    /// Removes all messages from a queue. Returns how many, or `None` if the identity does not exist.
    pub(crate) async fn purge(&self, id: &IdentityId) -> Result<Option<u64>, StoreError> {
        let queue = self.queue();
        let purged = queue.store.purge_messages(id, queue.feedback_options()).await?;
        if let Some(messages) = purged {
            queue.feedback.queue().notify();
            queue.record_outcome("purged", messages);
            info!(device = %id, messages, "queue purged");
        }
        Ok(purged)
    }

    /// Creates the receiver for a connection.
    pub(crate) fn receiver(self: &Arc<Self>, id: &IdentityId) -> Receiver {
        Receiver::new(self.clone(), self.messages.holder(id))
    }
}

/// Deliveries of a message are counted when it is abandoned.
fn entry(message: &QueueEntry) -> Entry {
    Entry { sequence: message.sequence, expiry: Some(message.expiry), size: message.size, deliveries: 0 }
}
