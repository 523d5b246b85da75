//! Management of the files in the hub's own folder.

use ferrohub_model::file::BlobName;
use ferrohub_model::{ErrorCode, HubError};
use tracing::info;

use super::upload::blob_failed;
use crate::callers::ServiceCaller;
use crate::files::{Blob, BlobError, BlobFolder, Condition, OpenBlob};
use crate::hub::Hub;
use crate::operations::Operation;

impl Hub {
    fn folder(&self) -> Result<&dyn BlobFolder, HubError> {
        self.blob_folder().map(|folder| &**folder).ok_or_else(|| {
            HubError::new(
                ErrorCode::DefaultStorageEndpointNotConfigured,
                "This hub stores no files itself: file upload is disabled, or files are in the configured storage account.",
            )
        })
    }
}

/// Refuses the blobs of the container for import and export, which need other rights.
fn of_device(name: &BlobName) -> Result<&BlobName, HubError> {
    match name.name_in_container() {
        None => Ok(name),
        Some(_) => Err(blob_failed(BlobError::NotFound)),
    }
}

impl ServiceCaller {
    /// Returns at most `top` files ordered by name, of one device or of all, starting after the name `after`. The container
    /// for import and export belongs to no device: it contains keys, and needs other rights.
    pub async fn list_files(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, HubError> {
        let hub = self.permit(Operation::ListFiles)?;
        let mut files = hub.folder()?.list(device, after, top).await.map_err(blob_failed)?;
        // They are the last ones, so the pages before are as long as requested.
        files.retain(|blob| blob.name.name_in_container().is_none());
        Ok(files)
    }

    /// Opens a file for reading.
    pub async fn open_file(&self, name: &BlobName) -> Result<OpenBlob, HubError> {
        let hub = self.permit(Operation::GetFile)?;
        hub.folder()?.open(of_device(name)?, None).await.map_err(blob_failed)
    }

    /// Deletes a file.
    pub async fn delete_file(&self, name: &BlobName) -> Result<(), HubError> {
        let hub = self.permit(Operation::DeleteFile)?;
        hub.folder()?.delete(of_device(name)?, &Condition::default()).await.map_err(blob_failed)?;
        info!(device = name.device(), "file deleted");
        Ok(())
    }
}
