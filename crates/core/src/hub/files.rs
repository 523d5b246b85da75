//! Files that devices upload: where to, what became of it, and who may touch a file that the hub keeps.

mod kept;
mod notifications;
mod tend;

pub use notifications::LockedNotification;

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::blob_sas::{self, BlobAddress, BlobRight, BlobRights, PresentedSas};
use ferrohub_model::device::Status;
use ferrohub_model::file::{BlobName, FileNotification, FileUpload, FileUploadOutcome, FileUploadRequest};
use ferrohub_model::{DeviceId, ErrorCode, HubError, SharedAccessKey, Timestamp};
use tracing::{error, info};

use super::identities::not_found;
use super::{DeviceCaller, Hub, store_failed};
use crate::blobs::{Blob, BlobError, BlobFolder, BlobPlace, BlobStore, Files};
use crate::metrics::count;
use crate::store::{QueuedNotification, StoreError, StoredBlobKey, Upload, Written};

/// What a device may do with the file it asked for: read it again as well.
const OF_DEVICES: [BlobRight; 3] = [BlobRight::Read, BlobRight::Create, BlobRight::Write];

/// What a request on a blob may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobGrant {
    /// What with the blob.
    pub rights: BlobRights,
    /// For how long.
    pub remaining: Duration,
}

/// Why a request on a blob is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobDenied {
    /// There is no signature.
    NoSignature,
    /// The signature is not good: a fixed word for logs says why, the caller is not told.
    Signature(&'static str),
    /// The signature is good, and does not grant this.
    Right,
}

impl Files {
    fn store(&self) -> &dyn BlobStore {
        match self {
            Self::Folder(folder) => &**folder,
            Self::Account(store, _) => &**store,
        }
    }
}

impl Hub {
    /// Loads the keys that sign URLs of the hub's own folder, and makes the first.
    pub(super) async fn load_url_keys(&self) -> Result<(), StoreError> {
        let Some(Files::Folder(_)) = &self.files else { return Ok(()) };
        let mut keys = self.store.blob_keys().await?;
        if keys.is_empty() {
            keys.push(self.fresh_url_key().await?);
        }
        self.url_keys.set(keys);
        Ok(())
    }

    async fn fresh_url_key(&self) -> Result<StoredBlobKey, StoreError> {
        let key = StoredBlobKey { key: SharedAccessKey::generate(), made: self.clock.now() };
        self.store.save_blob_key(&key, crate::blobs::UrlKeys::KEPT).await?;
        Ok(key)
    }

    /// The hub's own folder for files, if it has one.
    #[must_use]
    pub fn blob_folder(&self) -> Option<&Arc<dyn BlobFolder>> {
        match &self.files {
            Some(Files::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    fn files(&self) -> Result<&Files, HubError> {
        self.files.as_ref().ok_or_else(|| {
            HubError::new(
                ErrorCode::DefaultStorageEndpointNotConfigured,
                "This hub takes no files: files.enabled is false.",
            )
        })
    }

    /// Begins an upload: a URL that is good for exactly this file, for a while.
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
        if let Files::Folder(folder) = files
            && !folder.has_room()
        {
            return Err(HubError::new(
                ErrorCode::IotHubQuotaExceeded,
                "The hub's folder for files is full (files.total_bytes).",
            ));
        }
        let key = match files {
            Files::Folder(_) => self.url_keys.signing(),
            Files::Account(_, key) => Some(key.clone()),
        };
        let key = key.ok_or_else(|| HubError::new(ErrorCode::ServerError, "The hub has no key for URLs."))?;
        let limits = &self.limits.files;
        let now = self.clock.now();
        // Signatures end with a whole second; the upload ends with its signature.
        let expires = Timestamp::from_unix_seconds(plus(now, limits.url_lifetime).unix_seconds());
        let correlation_id = correlation_id();
        let upload = Upload { correlation_id: correlation_id.clone(), blob: blob.clone(), expires };
        match self.store.begin_upload(&upload, now, limits.uploads_per_device).await.map_err(store_failed)? {
            Written::Done => {}
            Written::NotFound => return Err(not_found(id)),
            Written::Full | Written::Conflict => {
                return Err(HubError::new(
                    ErrorCode::DeviceMaximumActiveFileUploadLimitExceeded,
                    format!(
                        "The device has begun {} uploads, as many as it may at once.",
                        limits.uploads_per_device
                    ),
                ));
            }
        }
        let place = files.store().place();
        let account = match files {
            Files::Folder(_) => account_of(place, &caller.identity.generation_id),
            Files::Account(..) => place.account.clone(),
        };
        let address = BlobAddress { account: &account, container: &place.container, blob: blob.as_str() };
        let sas_token = blob_sas::sign(address, BlobRights::of(&OF_DEVICES), expires, place.https, &key);
        info!(device = %id, correlation_id, %expires, "file upload begun");
        Ok(FileUpload {
            correlation_id,
            host_name: place.host.clone(),
            container_name: place.container.clone(),
            blob_name: blob.as_str().to_owned(),
            sas_token,
        })
    }

    /// Ends an upload as the device says: its file is there, or will never be.
    pub async fn end_upload(
        &self,
        caller: &DeviceCaller,
        outcome: &FileUploadOutcome,
    ) -> Result<(), HubError> {
        let files = self.files()?;
        let invalid = || {
            HubError::new(
                ErrorCode::InvalidFileUploadCorrelationId,
                "The device has begun no upload of that correlation id, or it has ended.",
            )
        };
        let id = outcome
            .correlation_id
            .as_deref()
            .ok_or_else(|| HubError::new(ErrorCode::ArgumentNull, "correlationId is required."))?;
        let device = caller.identity.id.device_str();
        let upload = self.store.upload(id).await.map_err(store_failed)?;
        // Whether it is another device's is nobody's business.
        let upload = upload.filter(|upload| upload.blob.device() == device).ok_or_else(invalid)?;
        let now = self.clock.now();
        if upload.expires <= now {
            return Err(HubError::new(
                ErrorCode::ExpiredFileUploadCorrelationId,
                format!("The upload ran out at {}.", upload.expires),
            ));
        }
        let blob = if outcome.is_success { Some(self.uploaded(files, &upload.blob).await?) } else { None };
        let notification = blob.as_ref().and_then(|blob| self.notification(files, device, blob, now));
        match self.store.end_upload(id, notification.as_ref()).await.map_err(store_failed)? {
            Written::Done => {}
            Written::NotFound | Written::Full | Written::Conflict => return Err(invalid()),
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
                self.forget_blocks(&upload.blob).await;
            }
        }
        Ok(())
    }

    /// The file that a device says it has uploaded.
    async fn uploaded(&self, files: &Files, name: &BlobName) -> Result<Blob, HubError> {
        let missing = |text: &'static str| HubError::new(ErrorCode::InvalidStorageEndpointOrBlob, text);
        match files.store().stat(name).await {
            Ok(Some(blob)) => Ok(blob),
            Ok(None) => Err(missing("There is no such blob in the storage.")),
            Err(cause) => Err(blob_failed(cause)),
        }
    }

    fn notification(
        &self,
        files: &Files,
        device: &str,
        blob: &Blob,
        now: Timestamp,
    ) -> Option<QueuedNotification> {
        let limits = self.limits.files.notifications.as_ref()?;
        let notification = FileNotification {
            device_id: device.to_owned(),
            blob_uri: files.store().place().uri(&blob.name),
            blob_name: blob.name.as_str().to_owned(),
            last_updated_time: blob.modified,
            blob_size_in_bytes: blob.bytes,
            enqueued_time_utc: now,
        };
        Some(QueuedNotification { notification, expires: plus(now, limits.ttl), limit: limits.waiting })
    }

    /// Whether whoever presents this query may do this with that blob of the hub's own folder. A device that is disabled
    /// or gone may not, however good its URL; nor may one that was made again under the id of one that is gone.
    pub async fn authorize_blob(
        &self,
        query: &str,
        blob: &BlobName,
        needed: &[BlobRight],
    ) -> Result<BlobGrant, BlobDenied> {
        let Some(Files::Folder(folder)) = &self.files else { return Err(BlobDenied::Signature("no_folder")) };
        let denied = |reason| {
            count(&self.metrics.unauthorized, reason);
            info!(device = blob.device(), reason, "request for a file refused");
            BlobDenied::Signature(reason)
        };
        if !PresentedSas::is_in(query) {
            return Err(BlobDenied::NoSignature);
        }
        let sas = PresentedSas::parse(query).map_err(|_| denied("malformed"))?;
        let remaining = sas.expiry().unix_millis().saturating_sub(self.clock.now().unix_millis());
        let remaining = u64::try_from(remaining).ok().filter(|millis| *millis > 0);
        let remaining = Duration::from_millis(remaining.ok_or_else(|| denied("expired"))?);
        let device = DeviceId::new(blob.device()).map_err(|_| denied("unknown_device"))?;
        let device = self.store.identity(&device.into()).await.map_err(|cause| {
            error!(%cause, "the store failed");
            denied("store_failed")
        })?;
        let device = device.ok_or_else(|| denied("unknown_device"))?;
        let place = folder.place();
        let account = account_of(place, &device.generation_id);
        let address = BlobAddress { account: &account, container: &place.container, blob: blob.as_str() };
        if !self.url_keys.signed(&sas, address) {
            return Err(denied("bad_signature"));
        }
        if device.status != Status::Enabled {
            return Err(denied("disabled"));
        }
        if needed.iter().any(|right| sas.rights().has(*right)) {
            Ok(BlobGrant { rights: sas.rights(), remaining })
        } else {
            Err(BlobDenied::Right)
        }
    }

    async fn forget_blocks(&self, blob: &BlobName) {
        if let Some(folder) = self.blob_folder()
            && let Err(cause) = folder.forget_blocks(blob).await
        {
            error!(%cause, "the blocks of an upload that ended were not removed");
        }
    }
}

/// A store of files that fails is not the caller's fault; the log has the cause.
fn blob_failed(cause: BlobError) -> HubError {
    if matches!(cause, BlobError::NotFound) {
        return HubError::new(ErrorCode::GenericNotFound, "There is no such file.");
    }
    error!(%cause, "the store of files failed");
    match cause {
        BlobError::Unavailable(_) => HubError::new(
            ErrorCode::InvalidStorageEndpointOrBlob,
            "The configured storage does not answer as it should.",
        ),
        BlobError::Store(cause) => store_failed(cause),
        _ => HubError::new(ErrorCode::ServerError, "The hub could not reach its files."),
    }
}

fn plus(now: Timestamp, duration: Duration) -> Timestamp {
    now.plus_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// The account that URLs of the hub's own folder are signed for: clients do not see it, and a device that is made again
/// has another.
fn account_of(place: &BlobPlace, generation_id: &str) -> String {
    format!("{}/{generation_id}", place.account)
}

/// Nobody guesses one: the same randomness as a key.
fn correlation_id() -> String {
    use base64::Engine as _;
    let random = SharedAccessKey::generate().sign(b"correlation id");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
}
