//! Periodic file maintenance: expires uploads and notifications, removes stale blocks, rotates URL signing keys.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::{SharedAccessKey, Timestamp};
use tracing::{error, info, warn};

use super::signing_keys::is_due;
use crate::background::{LeaseState, Stop, TaskLease};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::files::{BlobError, FileStorage, SigningKeyStore, StoredSigningKey, UrlSigningKeys};
use crate::hub::Hub;
use crate::limits::FileLimits;
use crate::metrics::{Metrics, count};
use crate::node::What;
use crate::store::{Store, StoreError};

/// How often maintenance runs.
const INTERVAL: Duration = Duration::from_secs(60);
/// Number of uploads that one commit expires.
const BATCH_SIZE: usize = 1000;
/// How long an expired upload is kept, so that its device gets an error that says it expired.
const EXPIRED_UPLOAD_RETENTION_MILLIS: i64 = 24 * 3600 * 1000;

impl Hub {
    /// Returns the maintenance of this hub's files.
    pub(crate) fn file_maintenance(&self, lease: TaskLease) -> FileMaintenance {
        FileMaintenance {
            store: self.store.clone(),
            files: self.files.clone(),
            keys: self.url_signing_keys.clone(),
            limits: self.limits.files.clone(),
            clock: self.clock.clone(),
            bus: self.bus.clone(),
            metrics: self.metrics.clone(),
            lease,
        }
    }

    /// Loads the keys that sign URLs of the hub's own folder. Generates the first key if the store has none.
    pub(crate) async fn load_url_keys(&self) -> Result<(), StoreError> {
        match &self.files {
            Some(FileStorage::Folder(_)) => {
                load_url_keys(&self.url_signing_keys, &*self.store, self.clock.now()).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Reads the keys from the store. If there is none, or the newest was created a key's lifetime ago, first adds one: URLs
/// signed with the previous key stay valid until they expire. Returns whether it added one.
///
/// Of two nodes that do this at once, one adds a key, and both read it.
async fn load_url_keys(
    keys: &UrlSigningKeys,
    store: &dyn SigningKeyStore,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut stored = store.signing_keys().await?;
    let newest = stored.first().map(|newest| newest.created);
    let mut is_added = false;
    if is_due(newest, now) {
        let key = StoredSigningKey { key: SharedAccessKey::generate(), created: now };
        is_added = store.save_signing_key(&key, newest, UrlSigningKeys::RETAINED).await?;
        stored = store.signing_keys().await?;
    }
    keys.set(stored);
    Ok(is_added)
}

/// The maintenance of a hub's files.
pub(crate) struct FileMaintenance {
    store: Arc<dyn Store>,
    files: Option<FileStorage>,
    keys: Arc<UrlSigningKeys>,
    limits: FileLimits,
    clock: Arc<dyn Clock>,
    bus: Arc<dyn Bus>,
    metrics: Metrics,
    /// The node that holds it does the maintenance.
    lease: TaskLease,
}

impl FileMaintenance {
    /// Does what is due, periodically, until it is stopped.
    pub(crate) async fn run(self: Arc<Self>, mut stop: Stop) {
        loop {
            if let Err(error) = self.run_once().await {
                error!(%error, "file maintenance failed: cannot remove unfinished uploads");
            }
            if stop.requested_within(INTERVAL).await {
                break;
            }
        }
        self.lease.release().await;
    }

    async fn expire_uploads(&self, now: Timestamp) -> Result<(), StoreError> {
        let remove_before = now.plus_millis(-EXPIRED_UPLOAD_RETENTION_MILLIS);
        loop {
            let expired = self.store.expire_uploads(now, remove_before, BATCH_SIZE).await?;
            for upload in &expired {
                count(&self.metrics.file_uploads, "expired");
                info!(
                    device = upload.blob.device(),
                    correlation_id = upload.correlation_id,
                    "file upload expired"
                );
            }
            if expired.len() < BATCH_SIZE {
                return Ok(());
            }
        }
    }

    async fn run_once(&self) -> Result<(), BlobError> {
        if self.lease.hold().await? != LeaseState::Held {
            return Ok(());
        }
        let now = self.clock.now();
        self.expire_uploads(now).await?;
        let dropped = self.store.expire_file_notifications(now).await?;
        if dropped > 0 {
            warn!(notifications = dropped, "file notifications expired without being completed");
        }
        let Some(FileStorage::Folder(folder)) = &self.files else { return Ok(()) };
        // Blocks older than the lifetime of a URL cannot be committed: the URL that uploaded them has expired.
        let lifetime = i64::try_from(self.limits.url_lifetime.as_millis()).unwrap_or(i64::MAX);
        folder.discard_stale_blocks(now.plus_millis(-lifetime)).await?;
        if self.keys.is_due(now) && load_url_keys(&self.keys, &*self.store, now).await? {
            self.bus.invalidate(What::SigningKeys).await;
            info!("rotated the key that signs file URLs");
        }
        Ok(())
    }
}
