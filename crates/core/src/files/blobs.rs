//! Access to the files of the hub's own folder with signed URLs.

use std::time::Duration;

use ferrohub_model::DeviceId;
use ferrohub_model::blob_sas::{BlobAddress, BlobSasToken};
use ferrohub_model::device::Status;
use ferrohub_model::file::BlobName;

use super::upload::account_of;
use super::{Blob, BlobError, ByteRange, ByteStream, Condition, FileStorage, OpenBlob, PutOptions};
use crate::callers::{BlobCaller, BlobDenied};
use crate::hub::Hub;
use crate::log_limit::excerpt;
use crate::metrics::count;
use crate::operations::Operation;
use crate::store::store_failed;
use crate::{log_limited, request_peer};

/// Why an operation on a blob failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobOperationError {
    /// The URL does not permit it.
    #[error("the URL does not permit the operation")]
    Denied(BlobDenied),
    /// The file storage failed or refused it.
    #[error(transparent)]
    Failed(#[from] BlobError),
}

impl From<BlobDenied> for BlobOperationError {
    fn from(denied: BlobDenied) -> Self {
        Self::Denied(denied)
    }
}

impl BlobCaller {
    /// Creates or replaces the file atomically. It is persisted when this returns.
    pub async fn put(
        &self,
        options: PutOptions,
        stream: &mut dyn ByteStream,
    ) -> Result<Blob, BlobOperationError> {
        Ok(self.permit(Operation::PutBlob)?.put(self.name()?, options, stream).await?)
    }

    /// Stores an uncommitted block and returns its MD5. The block is persisted when this returns.
    pub async fn put_block(
        &self,
        id: &str,
        md5: Option<[u8; 16]>,
        stream: &mut dyn ByteStream,
    ) -> Result<[u8; 16], BlobOperationError> {
        Ok(self.permit(Operation::PutBlob)?.put_block(self.name()?, id, md5, stream).await?)
    }

    /// Creates or replaces the file from uncommitted blocks, in the order of `ids`. Blocks not listed are discarded.
    pub async fn put_block_list(
        &self,
        ids: &[String],
        options: PutOptions,
    ) -> Result<Blob, BlobOperationError> {
        Ok(self.permit(Operation::PutBlob)?.put_block_list(self.name()?, ids, options).await?)
    }

    /// Returns the properties of the file, or `None` if it does not exist.
    pub async fn stat(&self) -> Result<Option<Blob>, BlobOperationError> {
        Ok(self.permit(Operation::GetBlob)?.stat(self.name()?).await?)
    }

    /// Opens the file for reading. A range that starts after its end yields no bytes.
    pub async fn open(&self, range: Option<ByteRange>) -> Result<OpenBlob, BlobOperationError> {
        Ok(self.permit(Operation::GetBlob)?.open(self.name()?, range).await?)
    }

    /// Lists at most `top` blobs of the container for import and export in name order, starting after the name `after`.
    /// The names are those in the container.
    pub async fn list(&self, after: Option<&str>, top: usize) -> Result<Vec<Blob>, BlobOperationError> {
        let folder = self.permit(Operation::ListBlobs)?;
        let owner = BlobName::container_owner();
        let after = after.map(|name| format!("{owner}/{name}"));
        Ok(folder.list(Some(owner), after.as_deref(), top).await?)
    }

    /// Deletes the file.
    pub async fn delete(&self, condition: &Condition) -> Result<(), BlobOperationError> {
        Ok(self.permit(Operation::DeleteBlob)?.delete(self.name()?, condition).await?)
    }
}

impl Hub {
    /// Returns whether the hub has a folder of its own for files: uploads are enabled and do not go to a storage account.
    #[must_use]
    pub fn has_blob_folder(&self) -> bool {
        self.blob_folder().is_some()
    }

    /// Proves that a request for a file of the hub's own folder comes from the holder of a signed URL, by the signature
    /// in its query.
    ///
    /// A valid URL is refused if its device is disabled or deleted, also if the device was created again with the same
    /// id.
    pub async fn authenticate_blob(
        &self,
        query: &str,
        blob: &BlobName,
        operation: Operation,
    ) -> Result<BlobCaller, BlobDenied> {
        let Some(FileStorage::Folder(folder)) = &self.files else {
            return Err(BlobDenied::NoFolder);
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
        if sas.is_for_container() {
            return Err(denied("bad_signature"));
        }
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
        let caller = BlobCaller::new(folder.clone(), blob.clone(), sas.rights(), remaining);
        caller.check(operation).map(|()| caller)
    }
}
