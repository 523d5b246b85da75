//! Notifications of uploaded files.

use async_trait::async_trait;
use ferrohub_core::files::{
    FileNotificationStore, NotificationLock, QueuedNotification, SettleNotificationOutcome,
};
use ferrohub_core::store::StoreError;
use ferrohub_model::Timestamp;
use ferrohub_model::file::FileNotification;

use super::MemoryStore;
use super::state::State;

/// A notification that no service has completed.
#[derive(Debug, Clone)]
pub(super) struct Notification {
    notification: FileNotification,
    expires: Timestamp,
    deliveries: u32,
    /// The token of the last lock and its expiry, unless it was abandoned.
    lock: Option<(String, Timestamp)>,
}

impl Notification {
    fn is_locked(&self, now: Timestamp) -> bool {
        self.lock.as_ref().is_some_and(|(_, until)| *until > now)
    }

    fn is_locked_with(&self, token: &str, now: Timestamp) -> bool {
        self.lock.as_ref().is_some_and(|(locked, until)| locked == token && *until > now)
    }
}

impl State {
    pub(super) fn add_notification(&mut self, queued: &QueuedNotification) {
        let QueuedNotification { notification, expires, limit } = queued;
        let (notification, expires) = (notification.clone(), *expires);
        self.notifications.push(Notification { notification, expires, deliveries: 0, lock: None });
        self.notifications.keep_newest(usize::try_from(*limit).unwrap_or(usize::MAX));
    }

    fn lock_next(&mut self, now: Timestamp, lock: &NotificationLock) -> Option<FileNotification> {
        self.expire_notifications(now, lock.max_deliveries);
        let next = self.notifications.rows.values_mut().find(|row| !row.is_locked(now))?;
        next.lock = Some((lock.token.clone(), lock.until));
        next.deliveries += 1;
        Some(next.notification.clone())
    }

    fn expire_notifications(&mut self, now: Timestamp, max_deliveries: u32) -> u64 {
        self.notifications
            .remove_where(|row| row.expires <= now || row.deliveries >= max_deliveries && !row.is_locked(now))
    }
}

#[async_trait]
impl FileNotificationStore for MemoryStore {
    async fn lock_next_file_notification(
        &self,
        now: Timestamp,
        lock: &NotificationLock,
    ) -> Result<Option<FileNotification>, StoreError> {
        self.write(|state| state.lock_next(now, lock)).await
    }

    async fn complete_file_notification(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<SettleNotificationOutcome, StoreError> {
        self.write(|state| match state.notifications.remove_where(|row| row.is_locked_with(token, now)) {
            0 => SettleNotificationOutcome::LockLost,
            _ => SettleNotificationOutcome::Settled,
        })
        .await
    }

    async fn abandon_file_notification(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<SettleNotificationOutcome, StoreError> {
        self.write(|state| {
            let mut rows = state.notifications.rows.values_mut();
            match rows.find(|row| row.is_locked_with(token, now)) {
                None => SettleNotificationOutcome::LockLost,
                Some(row) => {
                    row.lock = None;
                    SettleNotificationOutcome::Settled
                }
            }
        })
        .await
    }

    async fn expire_file_notifications(
        &self,
        now: Timestamp,
        max_deliveries: u32,
    ) -> Result<u64, StoreError> {
        self.write(|state| state.expire_notifications(now, max_deliveries)).await
    }
}
