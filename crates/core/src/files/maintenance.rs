//! Periodic file maintenance: expires uploads and notifications, removes stale blocks, rotates URL signing keys.

use tracing::{error, info, warn};

use crate::files::{BlobError, FileStorage};
use crate::hub::Hub;
use crate::metrics::count;
use crate::node::What;
use crate::store::StoreError;

/// How long an expired upload is kept, so that its device gets an error that says it expired.
const EXPIRED_UPLOAD_RETENTION_MILLIS: i64 = 24 * 3600 * 1000;
/// How long a key signs URLs. The previous key is kept as well. No URL is valid longer than a key signs, so every URL's
/// key is available until the URL expires.
const KEY_LIFETIME_MILLIS: i64 = 7 * 24 * 3600 * 1000;

impl Hub {
    /// Runs all maintenance that is due. Call it about once a minute.
    pub async fn run_file_maintenance(&self) {
        if let Err(error) = self.try_run_file_maintenance().await {
            error!(%error, "file maintenance failed: cannot remove unfinished uploads");
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
                "file upload expired"
            );
        }
        let notifications = self.limits.files.notifications.clone().unwrap_or_default();
        let dropped = self.store.expire_file_notifications(now, notifications.max_deliveries).await?;
        if dropped > 0 {
            warn!(notifications = dropped, "file notifications expired without being completed");
        }
        let Some(FileStorage::Folder(folder)) = &self.files else { return Ok(()) };
        // Blocks older than the lifetime of a URL cannot be committed: the URL that uploaded them has expired.
        let lifetime = i64::try_from(self.limits.files.url_lifetime.as_millis()).unwrap_or(i64::MAX);
        folder.discard_stale_blocks(now.plus_millis(-lifetime)).await?;
        if self
            .url_signing_keys
            .current_key_created()
            .is_none_or(|created| created.plus_millis(KEY_LIFETIME_MILLIS) <= now)
        {
            self.rotate_url_key().await?;
        }
        Ok(())
    }

    /// Generates a new signing key. URLs signed with the previous key stay valid until they expire.
    async fn rotate_url_key(&self) -> Result<(), StoreError> {
        self.generate_url_key().await?;
        self.reload_url_keys().await?;
        self.bus.invalidate(What::SigningKeys).await;
        info!("rotated the key that signs file URLs");
        Ok(())
    }
}
