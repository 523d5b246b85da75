//! The parts of the store port that keep uploads, file notifications, the names of blobs, and the keys that sign URLs.

use async_trait::async_trait;
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::{SharedAccessKey, Timestamp};

use super::{Blob, Condition, ConditionFailed};
use crate::store_error::StoreError;

/// A file upload that a device has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The correlation id that the device refers to it by.
    pub correlation_id: String,
    /// The blob; its name starts with the device id.
    pub blob: BlobName,
    /// The expiry.
    pub expires: Timestamp,
}

/// The outcome of starting an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginUploadOutcome {
    /// The upload is persisted.
    Begun,
    /// The device does not exist.
    NotFound,
    /// The device has the maximum number of unfinished uploads.
    Full,
}

/// The outcome of ending an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndUploadOutcome {
    /// The upload has ended, and its notification is persisted.
    Ended,
    /// There is no such upload, or it has ended before.
    NotFound,
}

/// A file notification to enqueue for services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedNotification {
    /// The notification.
    pub notification: FileNotification,
    /// The expiry.
    pub expires: Timestamp,
    /// Maximum number of queued notifications, this one included. The oldest ones beyond it are deleted.
    pub limit: u32,
}

/// A queued file notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNotification {
    /// The sequence number, larger than those of all earlier notifications.
    pub sequence: u64,
    /// How often it was handed out to a service.
    pub deliveries: u32,
    /// The notification.
    pub notification: FileNotification,
}

/// A blob of the hub's own folder, and the file that holds its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: Blob,
    /// The file's name, which is unrelated to the blob's name.
    pub file: String,
}

/// The outcome of a blob write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobWriteOutcome {
    /// The write is persisted. Contains the previous blob, if any: its file is no longer in use.
    Done(Option<StoredBlob>),
    /// The condition is not met; nothing was written.
    Refused(ConditionFailed),
}

/// A key that signs blob URLs of the hub's own folder, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSigningKey {
    /// The key.
    pub key: SharedAccessKey,
    /// When it was created.
    pub created: Timestamp,
}

/// Uploads that devices have started.
#[async_trait]
pub trait UploadStore: Send + Sync + 'static {
    /// Stores a new upload, unless the device has `limit` uploads that are not expired at `now`.
    async fn begin_upload(
        &self,
        upload: &Upload,
        now: Timestamp,
        limit: u32,
    ) -> Result<BeginUploadOutcome, StoreError>;

    /// Returns an upload that has not ended, or `None`.
    async fn upload(&self, correlation_id: &str) -> Result<Option<Upload>, StoreError>;

    /// Ends an upload and enqueues its notification, in one commit.
    async fn end_upload(
        &self,
        correlation_id: &str,
        notification: Option<&QueuedNotification>,
    ) -> Result<EndUploadOutcome, StoreError>;

    /// Returns at most `top` uploads that are expired at `now` and were not returned by an earlier call. Deletes those that
    /// expired at or before `remove_before`.
    async fn expire_uploads(
        &self,
        now: Timestamp,
        remove_before: Timestamp,
        top: usize,
    ) -> Result<Vec<Upload>, StoreError>;
}

/// Notifications of uploaded files, for services.
#[async_trait]
pub trait FileNotificationStore: Send + Sync + 'static {
    /// Returns the first `top` file notifications with sequence numbers greater than `after` that are not expired at `now`, oldest
    /// first. The first sequence number is 1.
    async fn file_notifications(
        &self,
        now: Timestamp,
        after: u64,
        top: usize,
    ) -> Result<Vec<StoredNotification>, StoreError>;

    /// Increments the delivery count of a file notification. Returns false if it does not exist.
    async fn count_file_notification_delivery(&self, sequence: u64) -> Result<bool, StoreError>;

    /// Deletes file notifications. Returns how many of them existed.
    async fn complete_file_notifications(&self, sequences: &[u64]) -> Result<u64, StoreError>;

    /// Deletes the file notifications that are expired at `now`. Returns their number.
    async fn expire_file_notifications(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// The blobs of the hub's own folder, and the files that hold their bytes.
#[async_trait]
pub trait BlobIndex: Send + Sync + 'static {
    /// Returns a blob of the hub's own folder, or `None` if it does not exist.
    async fn blob(&self, name: &BlobName) -> Result<Option<StoredBlob>, StoreError>;

    /// Lists at most `top` blobs in name order, starting after the name `after`; of one device, or of all if `device`
    /// is `None`.
    async fn blobs(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, StoreError>;

    /// Adds or replaces a blob if the stored state meets the condition.
    async fn put_blob(
        &self,
        blob: &StoredBlob,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError>;

    /// Deletes a blob if the stored state meets the condition. Returns `Done(None)` if there was no blob.
    async fn delete_blob(
        &self,
        name: &BlobName,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError>;

    /// Returns the names of the files of at most `top` blobs and the names of these, in order of the latter, starting after
    /// the name `after`.
    async fn blob_files(
        &self,
        after: Option<&BlobName>,
        top: usize,
    ) -> Result<Vec<(String, BlobName)>, StoreError>;
}

/// The keys that sign blob URLs of the hub's own folder.
#[async_trait]
pub trait SigningKeyStore: Send + Sync + 'static {
    /// Returns the keys that sign blob URLs of the hub's own folder, newest first.
    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError>;

    /// Adds a signing key and deletes all but the newest `keep` keys, if the newest key is the one that was created at
    /// `replaces`; `None` stands for no key. Otherwise returns false and changes nothing: another node has added one.
    async fn save_signing_key(
        &self,
        key: &StoredSigningKey,
        replaces: Option<Timestamp>,
        keep: usize,
    ) -> Result<bool, StoreError>;
}
