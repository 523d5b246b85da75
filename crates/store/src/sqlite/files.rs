//! Uploads, file notifications, the catalogue of the blob folder, and the keys that sign its URLs.

use async_trait::async_trait;
use ferrohub_core::files::{
    BeginUploadOutcome, Blob, BlobIndex, BlobWriteOutcome, Condition, EndUploadOutcome,
    FileNotificationStore, QueuedNotification, SigningKeyStore, StoredBlob, StoredNotification,
    StoredSigningKey, Upload, UploadStore,
};
use ferrohub_core::store::StoreError;
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl UploadStore for SqliteStore {
    async fn begin_upload(
        &self,
        upload: &Upload,
        now: Timestamp,
        limit: u32,
    ) -> Result<BeginUploadOutcome, StoreError> {
        let upload = upload.clone();
        self.writer.write(move |db| statements::begin_upload(db, &upload, now, limit)).await
    }

    async fn upload(&self, correlation_id: &str) -> Result<Option<Upload>, StoreError> {
        let id = correlation_id.to_owned();
        self.readers.read_inline(move |db| statements::upload(db, &id)).await
    }

    async fn end_upload(
        &self,
        correlation_id: &str,
        notification: Option<&QueuedNotification>,
    ) -> Result<EndUploadOutcome, StoreError> {
        let (id, notification) = (correlation_id.to_owned(), notification.cloned());
        self.writer.write(move |db| statements::end_upload(db, &id, notification.as_ref())).await
    }

    async fn expire_uploads(
        &self,
        now: Timestamp,
        remove_before: Timestamp,
        top: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        self.writer.write(move |db| statements::expire_uploads(db, now, remove_before, top)).await
    }
}

#[async_trait]
impl FileNotificationStore for SqliteStore {
    async fn file_notifications(
        &self,
        now: Timestamp,
        after: u64,
        top: usize,
    ) -> Result<Vec<StoredNotification>, StoreError> {
        self.readers.read(move |db| statements::file_notifications(db, now, after, top)).await
    }

    async fn count_file_notification_delivery(&self, sequence: u64) -> Result<bool, StoreError> {
        self.writer.write(move |db| statements::count_file_notification_delivery(db, sequence)).await
    }

    async fn complete_file_notifications(&self, sequences: &[u64]) -> Result<u64, StoreError> {
        let sequences = sequences.to_vec();
        self.writer.write(move |db| statements::complete_file_notifications(db, &sequences)).await
    }

    async fn expire_file_notifications(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::expire_file_notifications(db, now)).await
    }
}

#[async_trait]
impl BlobIndex for SqliteStore {
    async fn blob(&self, name: &BlobName) -> Result<Option<StoredBlob>, StoreError> {
        let name = name.clone();
        self.readers.read_inline(move |db| statements::blob(db, &name)).await
    }

    async fn blobs(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, StoreError> {
        let (device, after) = (device.map(str::to_owned), after.map(str::to_owned));
        self.readers.read(move |db| statements::blobs(db, device.as_deref(), after.as_deref(), top)).await
    }

    async fn put_blob(
        &self,
        blob: &StoredBlob,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError> {
        let (blob, condition) = (blob.clone(), condition.clone());
        self.writer.write(move |db| statements::put_blob(db, &blob, &condition)).await
    }

    async fn delete_blob(
        &self,
        name: &BlobName,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError> {
        let (name, condition) = (name.clone(), condition.clone());
        self.writer.write(move |db| statements::delete_blob(db, &name, &condition)).await
    }

    async fn blob_files(
        &self,
        after: Option<&BlobName>,
        top: usize,
    ) -> Result<Vec<(String, BlobName)>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |db| statements::blob_files(db, after.as_ref(), top)).await
    }
}

#[async_trait]
impl SigningKeyStore for SqliteStore {
    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        self.readers.read(statements::signing_keys).await
    }

    async fn save_signing_key(
        &self,
        key: &StoredSigningKey,
        replaces: Option<Timestamp>,
        keep: usize,
    ) -> Result<bool, StoreError> {
        let key = key.clone();
        self.writer.write(move |db| statements::save_signing_key(db, &key, replaces, keep)).await
    }
}
