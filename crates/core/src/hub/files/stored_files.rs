//! The files in the hub's own folder, for those who manage it.

use ferrohub_model::file::BlobName;
use ferrohub_model::{ErrorCode, HubError};
use tracing::info;

use super::{Hub, blob_failed};
use crate::blobs::{Blob, BlobFolder, Condition, OpenBlob};

impl Hub {
    fn folder(&self) -> Result<&dyn BlobFolder, HubError> {
        self.blob_folder().map(|folder| &**folder).ok_or_else(|| {
            HubError::new(
                ErrorCode::DefaultStorageEndpointNotConfigured,
                "This hub keeps no files itself: they are in the configured storage, if anywhere.",
            )
        })
    }

    /// Files in the order of their names: those of a device, or all; behind `after`; at most `top`.
    pub async fn list_files(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, HubError> {
        self.folder()?.list(device, after, top).await.map_err(blob_failed)
    }

    /// One file and its bytes.
    pub async fn open_file(&self, name: &BlobName) -> Result<OpenBlob, HubError> {
        self.folder()?.open(name, None).await.map_err(blob_failed)
    }

    /// Deletes a file.
    pub async fn delete_file(&self, name: &BlobName) -> Result<(), HubError> {
        self.folder()?.delete(name, &Condition::default()).await.map_err(blob_failed)?;
        info!(device = name.device(), "file deleted");
        Ok(())
    }
}
