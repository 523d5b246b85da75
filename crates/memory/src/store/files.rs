//! Uploads, the blobs of the hub's own folder, and the keys that sign their URLs.

use async_trait::async_trait;
use ferrohub_core::files::{
    BeginUploadOutcome, Blob, BlobIndex, BlobWriteOutcome, Condition, EndUploadOutcome, QueuedNotification,
    SigningKeyStore, StoredBlob, StoredSigningKey, Upload, UploadStore,
};
use ferrohub_core::store::StoreError;
use ferrohub_model::file::BlobName;
use ferrohub_model::{IdentityId, Timestamp};

use super::MemoryStore;
use super::state::State;

impl State {
    fn begin(&mut self, upload: &Upload, now: Timestamp, limit: u32) -> BeginUploadOutcome {
        let device = upload.blob.device();
        if !IdentityId::parse(device).is_ok_and(|id| self.identities.contains_key(&id)) {
            return BeginUploadOutcome::NotFound;
        }
        let is_active = |other: &Upload| other.blob.device() == device && other.expires > now;
        let active = self.uploads.values().filter(|(other, _)| is_active(other)).count();
        if active as u64 >= u64::from(limit) {
            return BeginUploadOutcome::Full;
        }
        self.uploads.insert(upload.correlation_id.clone(), (upload.clone(), false));
        BeginUploadOutcome::Begun
    }

    fn end(&mut self, correlation_id: &str, notification: Option<&QueuedNotification>) -> EndUploadOutcome {
        if self.uploads.remove(correlation_id).is_none() {
            return EndUploadOutcome::NotFound;
        }
        if let Some(queued) = notification {
            self.add_notification(queued);
        }
        EndUploadOutcome::Ended
    }

    fn expire_uploads(&mut self, now: Timestamp, remove_before: Timestamp, top: usize) -> Vec<Upload> {
        let rows = self.uploads.values_mut();
        let mut due: Vec<_> =
            rows.filter(|(upload, is_expired)| !*is_expired && upload.expires <= now).collect();
        due.sort_by_key(|(upload, _)| upload.expires);
        due.truncate(top);
        let expire = |row: &mut (Upload, bool)| {
            row.1 = true;
            row.0.clone()
        };
        let expired = due.into_iter().map(expire).collect();
        self.uploads.retain(|_, (upload, is_expired)| !*is_expired || upload.expires > remove_before);
        expired
    }

    fn put_blob(&mut self, new: &StoredBlob, condition: &Condition) -> BlobWriteOutcome {
        let old = self.blobs.get(&new.blob.name);
        match condition.check(old.map(|old| &old.blob)) {
            Err(failed) => BlobWriteOutcome::Refused(failed),
            Ok(()) => BlobWriteOutcome::Done(self.blobs.insert(new.blob.name.clone(), new.clone())),
        }
    }

    fn delete_blob(&mut self, name: &BlobName, condition: &Condition) -> BlobWriteOutcome {
        let Some(old) = self.blobs.get(name) else { return BlobWriteOutcome::Done(None) };
        match condition.check(Some(&old.blob)) {
            Err(failed) => BlobWriteOutcome::Refused(failed),
            Ok(()) => BlobWriteOutcome::Done(self.blobs.remove(name)),
        }
    }

    fn save_key(&mut self, key: &StoredSigningKey, replaces: Option<Timestamp>, keep: usize) -> bool {
        if self.signing_keys.last_key_value().map(|(created, _)| *created) != replaces {
            return false;
        }
        self.signing_keys.insert(key.created, key.key.clone());
        while self.signing_keys.len() > keep {
            self.signing_keys.pop_first();
        }
        true
    }
}

#[async_trait]
impl UploadStore for MemoryStore {
    async fn begin_upload(
        &self,
        upload: &Upload,
        now: Timestamp,
        limit: u32,
    ) -> Result<BeginUploadOutcome, StoreError> {
        self.write(|state| state.begin(upload, now, limit)).await
    }

    async fn upload(&self, correlation_id: &str) -> Result<Option<Upload>, StoreError> {
        self.read(|state| state.uploads.get(correlation_id).map(|(upload, _)| upload.clone())).await
    }

    async fn end_upload(
        &self,
        correlation_id: &str,
        notification: Option<&QueuedNotification>,
    ) -> Result<EndUploadOutcome, StoreError> {
        self.write(|state| state.end(correlation_id, notification)).await
    }

    async fn expire_uploads(
        &self,
        now: Timestamp,
        remove_before: Timestamp,
        top: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        self.write(|state| state.expire_uploads(now, remove_before, top)).await
    }
}

#[async_trait]
impl BlobIndex for MemoryStore {
    async fn blob(&self, name: &BlobName) -> Result<Option<StoredBlob>, StoreError> {
        self.read(|state| state.blobs.get(name).cloned()).await
    }

    async fn blobs(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, StoreError> {
        let is_listed = |name: &BlobName| {
            device.is_none_or(|device| name.device() == device)
                && after.is_none_or(|after| name.as_str() > after)
        };
        self.read(|state| {
            let found = state.blobs.iter().filter(|(name, _)| is_listed(name)).take(top);
            found.map(|(_, stored)| stored.blob.clone()).collect()
        })
        .await
    }

    async fn put_blob(
        &self,
        blob: &StoredBlob,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError> {
        self.write(|state| state.put_blob(blob, condition)).await
    }

    async fn delete_blob(
        &self,
        name: &BlobName,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError> {
        self.write(|state| state.delete_blob(name, condition)).await
    }

    async fn blob_files(
        &self,
        after: Option<&BlobName>,
        top: usize,
    ) -> Result<Vec<(String, BlobName)>, StoreError> {
        self.read(|state| {
            let found = state.blobs.iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
            found.take(top).map(|(name, stored)| (stored.file.clone(), name.clone())).collect()
        })
        .await
    }
}

#[async_trait]
impl SigningKeyStore for MemoryStore {
    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        self.read(|state| {
            let keys = state.signing_keys.iter().rev();
            keys.map(|(created, key)| StoredSigningKey { key: key.clone(), created: *created }).collect()
        })
        .await
    }

    async fn save_signing_key(
        &self,
        key: &StoredSigningKey,
        replaces: Option<Timestamp>,
        keep: usize,
    ) -> Result<bool, StoreError> {
        self.write(|state| state.save_key(key, replaces, keep)).await
    }
}
