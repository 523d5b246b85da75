//! What is done about files from time to time: uploads run out, their remains go, keys are exchanged.

use tracing::{error, info, warn};

use super::Hub;
use crate::blobs::{BlobError, FileStorage, UrlSigningKeys};
use crate::metrics::count;
use crate::store::StoreError;

/// How long an upload that ran out is remembered, so that its device is told so.
const EXPIRED_UPLOAD_RETENTION_MILLIS: i64 = 24 * 3600 * 1000;
/// How long a key signs. With the one before it, which is kept, a URL outlives no key: none lives that long.
const KEY_LIFETIME_MILLIS: i64 = 7 * 24 * 3600 * 1000;

impl Hub {
    /// Does what is due. To be called every minute or so.
    pub async fn run_file_maintenance(&self) {
        if let Err(error) = self.try_run_file_maintenance().await {
            error!(%error, "what is left of uploads was not removed");
        }
    }

    async fn try_run_file_maintenance(&self) -> Result<(), BlobError> {
        let now = self.clock.now();
        let expired =
            self.store.expire_uploads(now, now.plus_millis(-EXPIRED_UPLOAD_RETENTION_MILLIS)).await?;
        for upload in &expired {
            count(&self.metrics.file_uploads, "expired");
            info!(
                device = upload.blob.device(),
                correlation_id = upload.correlation_id,
                "file upload ran out"
            );
        }
        let notifications = self.limits.files.notifications.clone().unwrap_or_default();
        let dropped = self.store.expire_file_notifications(now, notifications.max_deliveries).await?;
        if dropped > 0 {
            warn!(notifications = dropped, "notifications of files ran out before anybody dealt with them");
        }
        let Some(FileStorage::Folder(folder)) = &self.files else { return Ok(()) };
        // Whoever could still put a block, or make a blob of those that wait, got the URL later than this.
        let lifetime = i64::try_from(self.limits.files.url_lifetime.as_millis()).unwrap_or(i64::MAX);
        folder.discard_stale_blocks(now.plus_millis(-lifetime)).await?;
        if self
            .url_signing_keys
            .current_key_created()
            .is_none_or(|made| made.plus_millis(KEY_LIFETIME_MILLIS) <= now)
        {
            self.rotate_url_key().await?;
        }
        Ok(())
    }

    /// A new key signs from now on; what the last one signed stays good for as long as it says.
    async fn rotate_url_key(&self) -> Result<(), StoreError> {
        self.generate_url_key().await?;
        let mut keys = self.store.signing_keys().await?;
        keys.truncate(UrlSigningKeys::RETAINED);
        self.url_signing_keys.set(keys);
        info!("the key that signs URLs of files was exchanged");
        Ok(())
    }
}
