//! Notifications for services about uploaded files, handed out by a peek-lock.

use std::sync::Arc;

use ferrohub_model::file::FileNotification;
use ferrohub_model::{ErrorCode, HubError};
use tracing::info;

use super::{FileNotificationStore, StoredNotification};
use crate::callers::ServiceCaller;
use crate::clock::Clock;
use crate::delivery::{
    Attempt, Entry, HandOut, HandOutLimit, LockToken, PeekLock, QueueKind, Recipient, Released, Waiters,
    Written,
};
use crate::hub::Hub;
use crate::limits::NotificationLimits;
use crate::metrics::{Metrics, Outcomes, count, counter};
use crate::operations::Operation;
use crate::store_error::{StoreError, store_failed};
use crate::uncancelled::run_uncancelled;

/// Number of notifications that are read at a time; the ones that were delivered too often are removed.
const READ: usize = 16;

/// A notification that is locked for its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedNotification {
    /// The token that completes or abandons the notification.
    pub token: LockToken,
    /// The notification.
    pub notification: FileNotification,
}

/// What becomes of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotificationOutcome {
    /// It is removed.
    Complete,
    /// It can be received again, unless it was delivered too often.
    Abandon,
    /// It was delivered too often, and is removed.
    DeadLetter,
}

/// The only queue of notifications. It counts a delivery when a notification is handed out.
pub(crate) struct NotificationQueue {
    store: Arc<dyn FileNotificationStore>,
    clock: Arc<dyn Clock>,
    limits: NotificationLimits,
    metrics: Metrics,
    waiters: Waiters,
}

impl QueueKind for NotificationQueue {
    type Key = ();
    type Outcome = NotificationOutcome;
    type Error = StoreError;

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn panics(&self) -> &Outcomes {
        &self.metrics.panics
    }

    async fn write(
        &self,
        (): &(),
        sequences: &[u64],
        outcome: NotificationOutcome,
    ) -> Result<Written, StoreError> {
        let (items, label) = match outcome {
            NotificationOutcome::Complete => {
                (self.store.complete_file_notifications(sequences).await?, "completed")
            }
            NotificationOutcome::DeadLetter => {
                (self.store.complete_file_notifications(sequences).await?, "dead_lettered")
            }
            // The delivery is counted already. If it was the last one, the next receiver dead-letters the notification.
            NotificationOutcome::Abandon => (sequences.len() as u64, "abandoned"),
        };
        counter(&self.metrics.file_notifications, label).inc_by(items);
        Ok(Written { items, available: outcome == NotificationOutcome::Abandon })
    }

    fn on_released(&self, (): &(), released: Released) {
        if released.available {
            self.notify();
        }
    }
}

/// What was read, and what of it is locked for a receiver and not delivered yet.
type HandedOut = (HandOut<NotificationQueue>, Vec<StoredNotification>);

impl NotificationQueue {
    /// Wakes the services that wait for notifications. Call it after a notification is stored.
    pub(super) fn notify(&self) {
        self.waiters.notify();
    }
}

impl PeekLock<NotificationQueue> {
    /// Returns the queue. If notifications are disabled, `limits` is `None`, and those from before can still be received.
    pub(crate) fn of_notifications(
        store: Arc<dyn FileNotificationStore>,
        clock: Arc<dyn Clock>,
        limits: Option<NotificationLimits>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let limits = limits.unwrap_or_default();
        Self::new(NotificationQueue { store, clock, limits, metrics, waiters: Waiters::default() })
    }

    /// Locks the next notification and counts its delivery. If this is dropped, the notification is not locked any more; its
    /// delivery may be counted.
    async fn try_receive(self: &Arc<Self>) -> Result<Attempt<LockedNotification>, StoreError> {
        let NotificationQueue { store, metrics, .. } = self.queue();
        loop {
            let peek_lock = self.clone();
            // In a task of its own: a receiver that is not polled for a while must not keep its turn.
            let found = run_uncancelled(&metrics.panics, async move { peek_lock.hand_out().await });
            let (mut handed_out, mut found) = match found.await? {
                Attempt::Received(found) => found,
                Attempt::Nothing(ready) => return Ok(Attempt::Nothing(ready)),
            };
            // It is locked, so another receiver may look while this one writes.
            if let Some(exhausted) = handed_out.exhausted.take() {
                let notifications = exhausted.settle(NotificationOutcome::DeadLetter).await?;
                info!(notifications, "file notifications dead-lettered: maximum delivery count exceeded");
            }
            let Some((token, _)) = handed_out.lock else { continue };
            let Some(sequence) = handed_out.sequences().first().copied() else { continue };
            found.retain(|notification| notification.sequence == sequence);
            let Some(StoredNotification { notification, .. }) = found.pop() else { continue };
            let exists = store.count_file_notification_delivery(sequence).await?;
            if handed_out.keep(|_| exists).is_empty() {
                // It was removed because there were too many, or the write took as long as a lock lasts.
                continue;
            }
            count(&metrics.file_notifications, "delivered");
            return Ok(Attempt::Received(LockedNotification { token, notification }));
        }
    }

    /// Locks the next notification. Dropping what is returned releases it.
    async fn hand_out(self: &Arc<Self>) -> Result<Attempt<HandedOut>, StoreError> {
        let NotificationQueue { store, clock, limits, waiters, .. } = self.queue();
        let _turn = waiters.turn().await;
        let (reading, now) = (self.read(&()), clock.now());
        let found = reading
            .unlocked(
                READ,
                |stored: &StoredNotification| stored.sequence,
                |after, top| store.file_notifications(now, after, top),
            )
            .await?;
        if found.is_empty() {
            return Ok(Attempt::Nothing(self.next_timeout()));
        }
        let entries: Vec<Entry> = found.iter().map(entry).collect();
        let limit = HandOutLimit { items: 1, bytes: usize::MAX, max_deliveries: limits.max_deliveries };
        Ok(Attempt::Received((
            reading.hand_out(Recipient::Token(limits.lock_duration), &entries, limit),
            found,
        )))
    }

    /// Settles the notification that was received with this token. Returns false if the lock expired, the token is unknown, or the
    /// notification has expired.
    async fn settle(
        self: &Arc<Self>,
        lock_token: &str,
        outcome: NotificationOutcome,
    ) -> Result<bool, StoreError> {
        let Some(token) = LockToken::parse(lock_token) else { return Ok(false) };
        Ok(self.settle_with_token(&(), token, outcome).await?.is_some_and(|settled| settled > 0))
    }
}

fn entry(stored: &StoredNotification) -> Entry {
    Entry { sequence: stored.sequence, expiry: None, size: 0, deliveries: stored.deliveries }
}

impl ServiceCaller {
    /// Locks and returns the next notification. Returns `None` if there is none or notifications are disabled.
    pub async fn receive_file_notification(&self) -> Result<Option<LockedNotification>, HubError> {
        let hub = self.permit(Operation::ReceiveFileNotification)?;
        hub.notifications.try_receive().await.map(Attempt::received).map_err(store_failed)
    }

    /// Waits until there is a notification, and locks it as
    /// [`receive_file_notification`](Self::receive_file_notification) does. Costs nothing while it waits, and never returns
    /// if notifications are disabled. Cancel-safe: no notification stays locked.
    pub async fn next_file_notification(&self) -> Result<LockedNotification, HubError> {
        loop {
            let hub = self.permit(Operation::ReceiveFileNotification)?;
            let waiting = hub.notifications.queue().waiters.begin();
            // Boxed: links wait for days, and need no memory for the attempt meanwhile.
            match Box::pin(hub.notifications.try_receive()).await.map_err(store_failed)? {
                Attempt::Received(notification) => return Ok(notification),
                Attempt::Nothing(ready) => waiting.wait(&*hub.clock, ready).await,
            }
        }
    }

    /// Gives back a notification that it received and will not settle. Its delivery stays counted. Has no effect if the lock
    /// expired or `token` is unknown.
    pub fn release_file_notification(&self, token: LockToken) -> Result<(), HubError> {
        let hub = self.permit(Operation::ReceiveFileNotification)?;
        hub.notifications.release_token(&(), token);
        Ok(())
    }

    /// Completes a notification, which removes it.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or the token is unknown.
    pub async fn complete_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let hub = self.permit(Operation::CompleteFileNotification)?;
        hub.settle_file_notification(lock_token, NotificationOutcome::Complete).await
    }

    /// Abandons a notification, so that it can be received again.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or the token is unknown.
    pub async fn abandon_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let hub = self.permit(Operation::AbandonFileNotification)?;
        hub.settle_file_notification(lock_token, NotificationOutcome::Abandon).await
    }
}

impl Hub {
    async fn settle_file_notification(
        &self,
        lock_token: &str,
        outcome: NotificationOutcome,
    ) -> Result<(), HubError> {
        if !self.notifications.settle(lock_token, outcome).await.map_err(store_failed)? {
            return Err(HubError::new(
                ErrorCode::DeviceMessageLockLost,
                "The lock of the notification expired, or the lock token is unknown.",
            ));
        }
        Ok(())
    }
}
