//! File uploads of devices: upload URLs, upload outcomes, and authorization of blob requests to the hub's own folder.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::blob_sas::{self, BlobAddress, BlobRight, BlobRights};
use ferrohub_model::file::{BlobName, FileNotification, FileUpload, FileUploadOutcome, FileUploadRequest};
use ferrohub_model::{ErrorCode, HubError, IdentityId, SharedAccessKey, Timestamp};
use tracing::{error, info};

use crate::callers::DeviceCaller;
use crate::files::{
    BeginUploadOutcome, Blob, BlobEndpoint, BlobError, BlobFolder, BlobStore, EndUploadOutcome, FileStorage,
    QueuedNotification, Upload,
};
use crate::hub::Hub;
use crate::metrics::count;
use crate::operations::Operation;
use crate::registry::{Identity, not_found};
use crate::store::store_failed;
use crate::uncancelled::run_uncancelled;

/// The rights of an upload URL. The device may also read the file back.
const DEVICE_RIGHTS: [BlobRight; 3] = [BlobRight::Read, BlobRight::Create, BlobRight::Write];

impl FileStorage {
    fn store(&self) -> &dyn BlobStore {
        match self {
            Self::Folder(folder) => &**folder,
            Self::Account(store, _) => &**store,
        }
    }
}

impl DeviceCaller {
    /// Begins an upload. Returns a signed URL that is valid for this file only, for
    /// [`FileLimits::url_lifetime`](crate::limits::FileLimits::url_lifetime).
    pub async fn begin_upload(&self, request: &FileUploadRequest) -> Result<FileUpload, HubError> {
        let hub = self.permit(Operation::CreateUpload)?;
        let begun = hub.begin_upload(self.identity(), request).await;
        count(&hub.metrics.file_uploads, if begun.is_ok() { "begun" } else { "refused" });
        begun
    }

    /// Ends an upload with the outcome that the device reports: the file was uploaded, or the upload failed. Runs to completion
    /// even if the caller is cancelled, so that the services that wait for the notification are woken.
    pub async fn end_upload(&self, outcome: &FileUploadOutcome) -> Result<(), HubError> {
        let hub = self.permit(Operation::CompleteUpload)?;
        let (worker, id, outcome) = (hub.clone(), self.id().clone(), outcome.clone());
        run_uncancelled(&hub.metrics.panics, async move { worker.end_upload(&id, &outcome).await }).await
    }
}

impl Hub {
    /// Loads the keys that sign URLs again. Keeps the current ones if this hub has no folder of its own.
    pub(crate) async fn reload_url_keys(&self) -> Result<(), crate::store_error::StoreError> {
        let Some(FileStorage::Folder(_)) = &self.files else { return Ok(()) };
        let mut keys = self.store.signing_keys().await?;
        keys.truncate(crate::files::UrlSigningKeys::RETAINED);
        self.url_signing_keys.set(keys);
        Ok(())
    }

    /// Returns the hub's own folder for files, or `None` if uploads are disabled or go to a storage account.
    pub(crate) fn blob_folder(&self) -> Option<&Arc<dyn BlobFolder>> {
        match &self.files {
            Some(FileStorage::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    fn files(&self) -> Result<&FileStorage, HubError> {
        self.files.as_ref().ok_or_else(|| {
            HubError::new(
                ErrorCode::DefaultStorageEndpointNotConfigured,
                "File upload is disabled (files.enabled is false).",
            )
        })
    }

    async fn begin_upload(
        &self,
        identity: &Identity,
        request: &FileUploadRequest,
    ) -> Result<FileUpload, HubError> {
        let files = self.files()?;
        let id = &identity.id;
        let name = request
            .blob_name
            .as_deref()
            .ok_or_else(|| HubError::new(ErrorCode::ArgumentNull, "blobName is required."))?;
        let blob = BlobName::new(id.device_str(), name)
            .map_err(|error| HubError::new(ErrorCode::ArgumentInvalid, format!("{error}.")))?;
        if let FileStorage::Folder(folder) = files
            && let Err(error) = folder.check_quota(&blob)
        {
            let text = match error {
                BlobError::DeviceFull(limit) => format!(
                    "The files of the device have {limit} bytes together, which is the maximum \
                     (files.bytes_per_device)."
                ),
                _ => "The hub's file store is full (files.total_bytes).".to_owned(),
            };
            return Err(HubError::new(ErrorCode::IotHubQuotaExceeded, text));
        }
        let key = match files {
            FileStorage::Folder(_) => self.url_signing_keys.current_key(),
            FileStorage::Account(_, key) => Some(key.clone()),
        };
        let key =
            key.ok_or_else(|| HubError::new(ErrorCode::ServerError, "The hub has no key to sign the URL."))?;
        let limits = &self.limits.files;
        let now = self.clock.now();
        // The expiry of a signature is in whole seconds. The upload expires together with its signature.
        let expires = Timestamp::from_unix_seconds(plus(now, limits.url_lifetime).unix_seconds());
        let correlation_id = correlation_id();
        let upload = Upload { correlation_id: correlation_id.clone(), blob: blob.clone(), expires };
        match self.store.begin_upload(&upload, now, limits.uploads_per_device).await.map_err(store_failed)? {
            BeginUploadOutcome::Begun => {}
            BeginUploadOutcome::NotFound => return Err(not_found(id)),
            BeginUploadOutcome::Full => {
                return Err(HubError::new(
                    ErrorCode::DeviceMaximumActiveFileUploadLimitExceeded,
                    format!(
                        "The device has the maximum number of unfinished uploads, {} (files.uploads_per_device).",
                        limits.uploads_per_device
                    ),
                ));
            }
        }
        let endpoint = files.store().endpoint();
        let account = match files {
            FileStorage::Folder(_) => account_of(endpoint, &identity.generation_id),
            FileStorage::Account(..) => endpoint.account.clone(),
        };
        let address = BlobAddress { account: &account, container: &endpoint.container, blob: blob.as_str() };
        let sas_token =
            blob_sas::sign(address, BlobRights::of(&DEVICE_RIGHTS), expires, endpoint.https, &key);
        info!(device = %id, correlation_id, %expires, "file upload started");
        Ok(FileUpload {
            correlation_id,
            host_name: endpoint.host.clone(),
            container_name: endpoint.container.clone(),
            blob_name: blob.as_str().to_owned(),
            sas_token,
        })
    }

    async fn end_upload(&self, id: &IdentityId, outcome: &FileUploadOutcome) -> Result<(), HubError> {
        let files = self.files()?;
        let invalid = || {
            HubError::new(
                ErrorCode::InvalidFileUploadCorrelationId,
                "The device has no open upload with this correlation id.",
            )
        };
        let correlation_id = outcome
            .correlation_id
            .as_deref()
            .ok_or_else(|| HubError::new(ErrorCode::ArgumentNull, "correlationId is required."))?;
        let device = id.device_str();
        let upload = self.store.upload(correlation_id).await.map_err(store_failed)?;
        // An upload of another device is treated as unknown, so that the error does not reveal that it exists.
        let upload = upload.filter(|upload| upload.blob.device() == device).ok_or_else(invalid)?;
        let now = self.clock.now();
        if upload.expires <= now {
            return Err(HubError::new(
                ErrorCode::ExpiredFileUploadCorrelationId,
                format!("The upload expired at {}.", upload.expires),
            ));
        }
        let blob =
            if outcome.is_success { Some(self.uploaded_blob(files, &upload.blob).await?) } else { None };
        let notification = blob.as_ref().and_then(|blob| self.notification(files, device, blob, now));
        match self.store.end_upload(correlation_id, notification.as_ref()).await.map_err(store_failed)? {
            EndUploadOutcome::Ended => {}
            EndUploadOutcome::NotFound => return Err(invalid()),
        }
        if notification.is_some() {
            count(&self.metrics.file_notifications, "enqueued");
            self.notifications.queue().notify();
        }
        match &blob {
            Some(blob) => {
                count(&self.metrics.file_uploads, "finished");
                info!(device, correlation_id, bytes = blob.bytes, "file uploaded");
            }
            None => {
                count(&self.metrics.file_uploads, "failed");
                info!(device, correlation_id, status = outcome.status_code, "file upload failed");
                self.discard_blocks(&upload.blob).await;
            }
        }
        Ok(())
    }

    /// Returns the file that the device reported as uploaded.
    async fn uploaded_blob(&self, files: &FileStorage, name: &BlobName) -> Result<Blob, HubError> {
        match files.store().stat(name).await {
            Ok(Some(blob)) => Ok(blob),
            Ok(None) => Err(HubError::new(
                ErrorCode::InvalidStorageEndpointOrBlob,
                "The file is not in the file storage.",
            )),
            Err(error) => Err(blob_failed(error)),
        }
    }

    fn notification(
        &self,
        files: &FileStorage,
        device: &str,
        blob: &Blob,
        now: Timestamp,
    ) -> Option<QueuedNotification> {
        let limits = self.limits.files.notifications.as_ref()?;
        let notification = FileNotification {
            device_id: device.to_owned(),
            blob_uri: files.store().endpoint().uri(&blob.name),
            blob_name: blob.name.as_str().to_owned(),
            last_updated_time: blob.modified,
            blob_size_in_bytes: blob.bytes,
            enqueued_time_utc: now,
        };
        Some(QueuedNotification {
            notification,
            expires: plus(now, limits.time_to_live),
            limit: limits.max_queued,
        })
    }

    async fn discard_blocks(&self, blob: &BlobName) {
        if let Some(folder) = self.blob_folder()
            && let Err(error) = folder.discard_blocks(blob).await
        {
            error!(%error, "cannot remove the blocks of a finished upload");
        }
    }
}

/// Maps an error of the file storage to the error for the caller, and logs the cause.
pub(super) fn blob_failed(error: BlobError) -> HubError {
    if matches!(error, BlobError::NotFound) {
        return HubError::new(ErrorCode::GenericNotFound, "The file does not exist.");
    }
    error!(%error, "a file storage operation failed");
    match error {
        BlobError::Unavailable(_) => HubError::new(
            ErrorCode::InvalidStorageEndpointOrBlob,
            "The configured storage account returned an error; the hub's log says which.",
        ),
        BlobError::Store(error) => store_failed(error),
        _ => HubError::new(
            ErrorCode::ServerError,
            "The hub cannot access its stored files; the log of the hub says why.",
        ),
    }
}

pub(super) fn plus(now: Timestamp, duration: Duration) -> Timestamp {
    now.plus_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the account name in signatures of the hub's own folder. Clients do not see it. It contains the generation
/// id, so that URLs become invalid when the device is deleted and created again.
pub(super) fn account_of(endpoint: &BlobEndpoint, generation_id: &str) -> String {
    format!("{}/{generation_id}", endpoint.account)
}

/// Returns an unguessable correlation id, derived from a newly generated random key.
fn correlation_id() -> String {
    use base64::Engine as _;
    let random = SharedAccessKey::generate().sign(b"correlation id");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
}
