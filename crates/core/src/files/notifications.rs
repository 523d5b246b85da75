//! Notifications for services about uploaded files. A received notification is locked for its receiver until the
//! receiver completes or abandons it or the lock expires.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use ferrohub_model::file::FileNotification;
use ferrohub_model::{ErrorCode, HubError, Timestamp};
use tokio::sync::Notify;

use super::upload::plus;
use crate::callers::ServiceCaller;
use crate::cloud_to_device::LockToken;
use crate::files::{NotificationLock, SettleNotificationOutcome};
use crate::hub::Hub;
use crate::limits::NotificationLimits;
use crate::metrics::count;
use crate::operations::Operation;
use crate::store::store_failed;
use crate::uncancelled::run_uncancelled;
use crate::waiting::wait;

/// The unit to which the ends of locks are rounded up, so that few of them are kept.
const LOCK_UNIT_MILLIS: i64 = 1000;

/// Wakes the services that wait for notifications.
#[derive(Debug)]
pub(crate) struct NotificationWaiters {
    /// Notified when there may be a new notification, or an unlocked one.
    changed: Notify,
    /// When locks end, rounded up. Bounded by the duration of a lock.
    lock_ends: Mutex<BTreeSet<Timestamp>>,
}

impl NotificationWaiters {
    /// Locks that an earlier process left end at the latest when one of this moment does.
    pub(crate) fn new(now: Timestamp, limits: Option<&NotificationLimits>) -> Self {
        let waiters = Self { changed: Notify::new(), lock_ends: Mutex::default() };
        if let Some(limits) = limits {
            waiters.add_lock(plus(now, limits.lock_duration));
        }
        waiters
    }

    /// Call it after a notification is stored or unlocked.
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    fn add_lock(&self, until: Timestamp) {
        let millis = until.unix_millis().saturating_add(LOCK_UNIT_MILLIS - 1);
        let end = Timestamp::from_unix_millis(millis / LOCK_UNIT_MILLIS * LOCK_UNIT_MILLIS);
        self.lock_ends.lock().unwrap_or_else(PoisonError::into_inner).insert(end);
    }

    /// Returns when the next lock ends.
    fn next_unlock(&self, now: Timestamp) -> Option<Timestamp> {
        let mut ends = self.lock_ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|end| *end > now);
        ends.first().copied()
    }
}

/// A notification that is locked for its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedNotification {
    /// The token that completes or abandons the notification.
    pub lock_token: String,
    /// The notification.
    pub notification: FileNotification,
}

impl ServiceCaller {
    /// Locks and returns the next notification. Returns `None` if there is none or notifications are disabled.
    pub async fn receive_file_notification(&self) -> Result<Option<LockedNotification>, HubError> {
        let hub = self.permit(Operation::ReceiveFileNotification)?;
        let limits = hub.limits.files.notifications.clone();
        let NotificationLimits { lock_duration, max_deliveries, .. } = limits.unwrap_or_default();
        let now = hub.clock.now();
        let lock = NotificationLock {
            token: LockToken::generate().to_string(),
            until: plus(now, lock_duration),
            max_deliveries,
        };
        let locking = hub.clone();
        run_uncancelled(&hub.metrics.panics, async move {
            let next = locking.store.lock_next_file_notification(now, &lock).await.map_err(store_failed)?;
            Ok(next.map(|notification| {
                locking.notification_waiters.add_lock(lock.until);
                count(&locking.metrics.file_notifications, "delivered");
                LockedNotification { lock_token: lock.token, notification }
            }))
        })
        .await
    }

    /// Waits until there is a notification, and locks it as
    /// [`receive_file_notification`](Self::receive_file_notification) does. Costs nothing while it waits, and never returns
    /// if notifications are disabled. If it is dropped, a notification may stay locked until the lock expires.
    pub async fn next_file_notification(&self) -> Result<LockedNotification, HubError> {
        loop {
            let hub = self.permit(Operation::ReceiveFileNotification)?;
            let mut changed = pin!(hub.notification_waiters.changed.notified());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            if let Some(notification) = self.receive_file_notification().await? {
                return Ok(notification);
            }
            let next = hub.notification_waiters.next_unlock(hub.clock.now());
            wait(&*hub.clock, changed, next).await;
        }
    }

    /// Completes a notification, which removes it.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or the token is unknown.
    pub async fn complete_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let hub = self.permit(Operation::CompleteFileNotification)?;
        let now = hub.clock.now();
        let outcome = hub.store.complete_file_notification(lock_token, now).await.map_err(store_failed)?;
        hub.record_settlement(outcome, "completed")
    }

    /// Abandons a notification, so that it can be received again.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or the token is unknown.
    pub async fn abandon_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let hub = self.permit(Operation::AbandonFileNotification)?;
        let now = hub.clock.now();
        let outcome = hub.store.abandon_file_notification(lock_token, now).await.map_err(store_failed)?;
        hub.notification_waiters.notify();
        hub.record_settlement(outcome, "abandoned")
    }
}

impl Hub {
    fn record_settlement(
        &self,
        outcome: SettleNotificationOutcome,
        label: &'static str,
    ) -> Result<(), HubError> {
        match outcome {
            SettleNotificationOutcome::Settled => {
                count(&self.metrics.file_notifications, label);
                Ok(())
            }
            SettleNotificationOutcome::LockLost => Err(HubError::new(
                ErrorCode::DeviceMessageLockLost,
                "The lock of the notification expired, or the lock token is unknown.",
            )),
        }
    }
}
