//! Notifications of uploaded files.

use async_trait::async_trait;
use ferrohub_core::files::{FileNotificationStore, QueuedNotification, StoredNotification};
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
}

impl State {
    pub(super) fn add_notification(&mut self, queued: &QueuedNotification) {
        let QueuedNotification { notification, expires, limit } = queued;
        let (notification, expires) = (notification.clone(), *expires);
        self.notifications.push(Notification { notification, expires, deliveries: 0 });
        self.notifications.keep_newest(usize::try_from(*limit).unwrap_or(usize::MAX));
    }

    fn oldest_notifications(&self, now: Timestamp, after: u64, top: usize) -> Vec<StoredNotification> {
        let rows = self.notifications.rows.range(after.saturating_add(1)..);
        let found = rows.filter(|(_, row)| row.expires > now);
        let stored = found.map(|(sequence, row)| StoredNotification {
            sequence: *sequence,
            deliveries: row.deliveries,
            notification: row.notification.clone(),
        });
        stored.take(top).collect()
    }

    fn complete_notifications(&mut self, sequences: &[u64]) -> u64 {
        let existed = sequences.iter().filter(|sequence| self.notifications.rows.remove(sequence).is_some());
        existed.count() as u64
    }
}

#[async_trait]
impl FileNotificationStore for MemoryStore {
    async fn file_notifications(
        &self,
        now: Timestamp,
        after: u64,
        top: usize,
    ) -> Result<Vec<StoredNotification>, StoreError> {
        self.read(|state| state.oldest_notifications(now, after, top)).await
    }

    async fn count_file_notification_delivery(&self, sequence: u64) -> Result<bool, StoreError> {
        self.write(|state| match state.notifications.rows.get_mut(&sequence) {
            None => false,
            Some(row) => {
                row.deliveries += 1;
                true
            }
        })
        .await
    }

    async fn complete_file_notifications(&self, sequences: &[u64]) -> Result<u64, StoreError> {
        self.write(|state| state.complete_notifications(sequences)).await
    }

    async fn expire_file_notifications(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(|state| state.notifications.remove_where(|row| row.expires <= now)).await
    }
}
