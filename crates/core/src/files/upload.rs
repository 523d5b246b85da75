//! File uploads of devices: upload URLs, upload outcomes, and authorization of blob requests to the hub's own folder.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::blob_sas::{self, BlobAddress, BlobRight, BlobRights, BlobSasToken};
use ferrohub_model::device::Status;
use ferrohub_model::file::{BlobName, FileNotification, FileUpload, FileUploadOutcome, FileUploadRequest};
use ferrohub_model::{DeviceId, ErrorCode, HubError, SharedAccessKey, Timestamp};
use tracing::{error, info};

use crate::callers::DeviceCaller;
use crate::files::{Blob, BlobEndpoint, BlobError, BlobFolder, BlobStore, FileStorage};
use crate::hub::Hub;
use crate::log_limit::excerpt;
use crate::metrics::count;
use crate::registry::not_found;
use crate::store::store_failed;
use crate::store::{QueuedNotification, StoreError, StoredSigningKey, Upload, WriteOutcome};
use crate::{log_limited, request_peer};

/// The rights of an upload URL. The device may also read the file back.
const DEVICE_RIGHTS: [BlobRight; 3] = [BlobRight::Read, BlobRight::Create, BlobRight::Write];

/// The grant of an authorized blob request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobGrant {
    /// The rights that the URL's signature grants.
    pub rights: BlobRights,
    /// The time until the URL expires.
    pub remaining: Duration,
}

/// Why a request on a blob is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobDenied {
    /// The request has no signature.
    NoSignature,
    /// The signature is invalid. The value is the reason, a constant for logs; it is not sent to the caller.
    InvalidSignature(&'static str),
    /// The signature is valid but does not grant the required right.
    MissingRight,
    /// The store failed, so the hub does not know whether the signature is valid.
    StoreFailed,
}

impl FileStorage {
    fn store(&self) -> &dyn BlobStore {
        match self {
            Self::Folder(folder) => &**folder,
            Self::Account(store, _) => &**store,
        }
    }
}

impl Hub {
    /// Loads the keys that sign URLs of the hub's own folder. Generates the first key if the store has none.
    pub(crate) async fn load_url_keys(&self) -> Result<(), StoreError> {
        let Some(FileStorage::Folder(_)) = &self.files else { return Ok(()) };
        let mut keys = self.store.signing_keys().await?;
        if keys.is_empty() {
            keys.push(self.generate_url_key().await?);
        }
        self.url_signing_keys.set(keys);
        Ok(())
    }

    pub(super) async fn generate_url_key(&self) -> Result<StoredSigningKey, StoreError> {
        let key = StoredSigningKey { key: SharedAccessKey::generate(), created: self.clock.now() };
        self.store.save_signing_key(&key, crate::files::UrlSigningKeys::RETAINED).await?;
        Ok(key)
    }

    /// Returns the hub's own folder for files, or `None` if uploads are disabled or go to a storage account.
    #[must_use]
    pub fn blob_folder(&self) -> Option<&Arc<dyn BlobFolder>> {
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

    /// Begins an upload. Returns a signed URL that is valid for this file only, for
    /// [`FileLimits::url_lifetime`](crate::limits::FileLimits::url_lifetime).
    pub async fn begin_upload(
        &self,
        caller: &DeviceCaller,
        request: &FileUploadRequest,
    ) -> Result<FileUpload, HubError> {
        let begun = self.try_begin_upload(caller, request).await;
        count(&self.metrics.file_uploads, if begun.is_ok() { "begun" } else { "refused" });
        begun
    }

    async fn try_begin_upload(
        &self,
        caller: &DeviceCaller,
        request: &FileUploadRequest,
    ) -> Result<FileUpload, HubError> {
        let files = self.files()?;
        let id = &caller.identity.id;
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
            WriteOutcome::Done => {}
            WriteOutcome::NotFound => return Err(not_found(id)),
            WriteOutcome::Full | WriteOutcome::Conflict => {
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
            FileStorage::Folder(_) => account_of(endpoint, &caller.identity.generation_id),
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

    /// Ends an upload with the outcome that the device reports: the file was uploaded, or the upload failed.
    pub async fn end_upload(
        &self,
        caller: &DeviceCaller,
        outcome: &FileUploadOutcome,
    ) -> Result<(), HubError> {
        let files = self.files()?;
        let invalid = || {
            HubError::new(
                ErrorCode::InvalidFileUploadCorrelationId,
                "The device has no open upload with this correlation id.",
            )
        };
        let id = outcome
            .correlation_id
            .as_deref()
            .ok_or_else(|| HubError::new(ErrorCode::ArgumentNull, "correlationId is required."))?;
        let device = caller.identity.id.device_str();
        let upload = self.store.upload(id).await.map_err(store_failed)?;
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
        match self.store.end_upload(id, notification.as_ref()).await.map_err(store_failed)? {
            WriteOutcome::Done => {}
            WriteOutcome::NotFound | WriteOutcome::Full | WriteOutcome::Conflict => return Err(invalid()),
        }
        if notification.is_some() {
            count(&self.metrics.file_notifications, "enqueued");
        }
        match &blob {
            Some(blob) => {
                count(&self.metrics.file_uploads, "finished");
                info!(device, correlation_id = id, bytes = blob.bytes, "file uploaded");
            }
            None => {
                count(&self.metrics.file_uploads, "failed");
                info!(device, correlation_id = id, status = outcome.status_code, "file upload failed");
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

    /// Authorizes a request for a blob of the hub's own folder by the signature in its query. `needed` lists
    /// alternative rights: one of them suffices.
    ///
    /// A valid URL is refused if its device is disabled or deleted, also if the device was created again with the same
    /// id.
    pub async fn authorize_blob(
        &self,
        query: &str,
        blob: &BlobName,
        needed: &[BlobRight],
    ) -> Result<BlobGrant, BlobDenied> {
        let Some(FileStorage::Folder(folder)) = &self.files else {
            return Err(BlobDenied::InvalidSignature("no_folder"));
        };
        let denied = |reason| {
            count(&self.metrics.unauthorized, reason);
            let device = excerpt(blob.device());
            log_limited!(info, "file request refused", reason, device, peer = request_peer::peer());
            BlobDenied::InvalidSignature(reason)
        };
        if !BlobSasToken::is_present(query) {
            return Err(BlobDenied::NoSignature);
        }
        let sas = BlobSasToken::parse(query).map_err(|_| denied("malformed"))?;
        let remaining = sas.expiry().unix_millis().saturating_sub(self.clock.now().unix_millis());
        let remaining = u64::try_from(remaining).ok().filter(|millis| *millis > 0);
        let remaining = Duration::from_millis(remaining.ok_or_else(|| denied("expired"))?);
        let device = DeviceId::new(blob.device()).map_err(|_| denied("unknown_device"))?;
        let device = self.store.identity(&device.into()).await.map_err(|error| {
            store_failed(error);
            BlobDenied::StoreFailed
        })?;
        let device = device.ok_or_else(|| denied("unknown_device"))?;
        let endpoint = folder.endpoint();
        let account = account_of(endpoint, &device.generation_id);
        let address = BlobAddress { account: &account, container: &endpoint.container, blob: blob.as_str() };
        if !self.url_signing_keys.verify(&sas, address) {
            return Err(denied("bad_signature"));
        }
        if device.status != Status::Enabled {
            return Err(denied("disabled"));
        }
        if needed.iter().any(|right| sas.rights().contains(*right)) {
            Ok(BlobGrant { rights: sas.rights(), remaining })
        } else {
            Err(BlobDenied::MissingRight)
        }
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
        _ => {
            HubError::new(ErrorCode::ServerError, "The hub cannot access its stored files; its log says why.")
        }
    }
}

pub(super) fn plus(now: Timestamp, duration: Duration) -> Timestamp {
    now.plus_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the account name in signatures of the hub's own folder. Clients do not see it. It contains the generation
/// id, so that URLs become invalid when the device is deleted and created again.
fn account_of(endpoint: &BlobEndpoint, generation_id: &str) -> String {
    format!("{}/{generation_id}", endpoint.account)
}

/// Returns an unguessable correlation id, derived from a newly generated random key.
fn correlation_id() -> String {
    use base64::Engine as _;
    let random = SharedAccessKey::generate().sign(b"correlation id");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
}
