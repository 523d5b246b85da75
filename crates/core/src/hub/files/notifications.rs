//! What services hear of uploaded files: each notification is locked for whoever receives it, until that says what
//! became of it or the lock runs out.

use ferrohub_model::file::FileNotification;
use ferrohub_model::{ErrorCode, HubError};

use super::{Hub, plus, store_failed};
use crate::limits::NotificationLimits;
use crate::messages::LockToken;
use crate::metrics::count;
use crate::store::{NotificationLock, WriteOutcome};

/// A notification that is locked for whoever received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedNotification {
    /// Names it when it is completed or abandoned.
    pub lock_token: String,
    /// What it says.
    pub notification: FileNotification,
}

impl Hub {
    /// The next notification, locked. None also where services are not told of files at all.
    pub async fn receive_file_notification(&self) -> Result<Option<LockedNotification>, HubError> {
        let limits = self.limits.files.notifications.clone();
        let NotificationLimits { lock_duration, max_deliveries, .. } = limits.unwrap_or_default();
        let now = self.clock.now();
        let lock = NotificationLock {
            token: LockToken::generate().to_string(),
            until: plus(now, lock_duration),
            max_deliveries,
        };
        let next = self.store.lock_next_file_notification(now, &lock).await.map_err(store_failed)?;
        Ok(next.map(|notification| {
            count(&self.metrics.file_notifications, "delivered");
            LockedNotification { lock_token: lock.token, notification }
        }))
    }

    /// A notification has been dealt with.
    pub async fn complete_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let now = self.clock.now();
        let done = self.store.complete_file_notification(lock_token, now).await.map_err(store_failed)?;
        self.record_settlement(done, "completed")
    }

    /// A notification is given back, for others to receive.
    pub async fn abandon_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let now = self.clock.now();
        let done = self.store.abandon_file_notification(lock_token, now).await.map_err(store_failed)?;
        self.record_settlement(done, "abandoned")
    }

    fn record_settlement(&self, done: WriteOutcome, what: &'static str) -> Result<(), HubError> {
        if done != WriteOutcome::Done {
            return Err(HubError::new(
                ErrorCode::DeviceMessageLockLost,
                "The lock has run out, or there was none.",
            ));
        }
        count(&self.metrics.file_notifications, what);
        Ok(())
    }
}
