//! Management of the files in the hub's own folder.

use ferrohub_model::file::BlobName;
use ferrohub_model::{ErrorCode, HubError};
use tracing::info;

use super::upload::blob_failed;
use crate::callers::ServiceCaller;
use crate::files::{Blob, BlobFolder, Condition, OpenBlob};
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

impl ServiceCaller {
    /// Returns at most `top` files ordered by name, of one device or of all, starting after the name `after`.
    pub async fn list_files(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, HubError> {
        let hub = self.permit(Operation::ListFiles)?;
        hub.folder()?.list(device, after, top).await.map_err(blob_failed)
    }

    /// Opens a file for reading.
    pub async fn open_file(&self, name: &BlobName) -> Result<OpenBlob, HubError> {
        let hub = self.permit(Operation::GetFile)?;
        hub.folder()?.open(name, None).await.map_err(blob_failed)
    }

    /// Deletes a file.
    pub async fn delete_file(&self, name: &BlobName) -> Result<(), HubError> {
        let hub = self.permit(Operation::DeleteFile)?;
        hub.folder()?.delete(name, &Condition::default()).await.map_err(blob_failed)?;
        info!(device = name.device(), "file deleted");
        Ok(())
    }
}
