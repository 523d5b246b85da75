//! Notifications for services about uploaded files. A received notification is locked for its receiver until the
//! receiver completes or abandons it or the lock expires.

use ferrohub_model::file::FileNotification;
use ferrohub_model::{ErrorCode, HubError};

use super::upload::plus;
use crate::callers::ServiceCaller;
use crate::cloud_to_device::LockToken;
use crate::hub::Hub;
use crate::limits::NotificationLimits;
use crate::metrics::count;
use crate::operations::Operation;
use crate::store::store_failed;
use crate::store::{NotificationLock, WriteOutcome};

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
        let next = hub.store.lock_next_file_notification(now, &lock).await.map_err(store_failed)?;
        Ok(next.map(|notification| {
            count(&hub.metrics.file_notifications, "delivered");
            LockedNotification { lock_token: lock.token, notification }
        }))
    }

    /// Completes a notification, which removes it.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or the token is unknown.
    pub async fn complete_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let hub = self.permit(Operation::CompleteFileNotification)?;
        let now = hub.clock.now();
        let written = hub.store.complete_file_notification(lock_token, now).await.map_err(store_failed)?;
        hub.record_settlement(written, "completed")
    }

    /// Abandons a notification, so that it can be received again.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or the token is unknown.
    pub async fn abandon_file_notification(&self, lock_token: &str) -> Result<(), HubError> {
        let hub = self.permit(Operation::AbandonFileNotification)?;
        let now = hub.clock.now();
        let written = hub.store.abandon_file_notification(lock_token, now).await.map_err(store_failed)?;
        hub.record_settlement(written, "abandoned")
    }
}

impl Hub {
    fn record_settlement(&self, written: WriteOutcome, outcome: &'static str) -> Result<(), HubError> {
        if written != WriteOutcome::Done {
            return Err(HubError::new(
                ErrorCode::DeviceMessageLockLost,
                "The lock of the notification expired, or the lock token is unknown.",
            ));
        }
        count(&self.metrics.file_notifications, outcome);
        Ok(())
    }
}
