//! Where the blobs of jobs are: the hub's own container, or other storage.

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_model::ErrorCode;
use ferrohub_model::HubError;
use ferrohub_model::blob_sas::{BlobAddress, BlobRight, BlobSasToken};
use ferrohub_model::file::BlobName;
use ferrohub_model::import_export::without_signature;

use super::CONTAINER;
use crate::files::{Blob, BlobError, BlobFolder, ByteRange, ByteStream, FileStorage, PutOptions};
use crate::hub::Hub;

/// Why an operation on a blob of a container failed. The texts have no signature.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The blob or the container does not exist.
    #[error("it does not exist in the container")]
    NotFound,
    /// The storage refused the signature in the container's URI.
    #[error(
        "the storage refused the signature in the URI of the container ({0}); is it expired, and has it the right?"
    )]
    Denied(String),
    /// The operator does not allow the host.
    #[error("{0}")]
    NotAllowed(String),
    /// The storage sent a response that is not valid, or refused the request.
    #[error("the storage refused the request: {0}")]
    Refused(String),
    /// The storage cannot be reached, or failed.
    #[error("the storage cannot be used now: {0}")]
    Unavailable(String),
    /// The bytes cannot be stored or read.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl ContainerError {
    /// Returns whether the same request may succeed later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::NotFound | Self::Denied(_) | Self::NotAllowed(_) | Self::Refused(_) => false,
            Self::Unavailable(_) => true,
            Self::Blob(error) => matches!(
                error,
                BlobError::Io(_)
                    | BlobError::Store(_)
                    | BlobError::Unavailable(_)
                    | BlobError::IncompleteBody(_)
            ),
        }
    }
}

/// A blob that was opened for reading.
pub struct OpenContainerBlob {
    /// Its size and version.
    pub blob: ContainerBlob,
    /// Its bytes from the requested one on.
    pub stream: Box<dyn ByteStream>,
}

/// The size and version of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerBlob {
    /// The size of the whole blob, in bytes.
    pub bytes: u64,
    /// The etag. It changes with every write.
    pub etag: String,
}

/// Storage outside the hub, which is reached by URLs with signatures.
#[async_trait]
pub trait ExternalContainers: Send + Sync + 'static {
    /// Checks that the URL is one of a container that the operator allows. Sends nothing.
    fn check(&self, container: &str) -> Result<(), ContainerError>;

    /// Opens a blob for reading, from the byte `from` on.
    async fn open(&self, container: &str, blob: &str, from: u64)
    -> Result<OpenContainerBlob, ContainerError>;

    /// Creates or replaces a blob. It appears only when it is complete.
    async fn put(
        &self,
        container: &str,
        blob: &str,
        stream: &mut dyn ByteStream,
    ) -> Result<(), ContainerError>;
}

/// A container of a job.
pub enum ContainerLocation {
    /// The hub's own.
    Own(Arc<dyn BlobFolder>),
    /// One of other storage, and its URL with the signature.
    External(Arc<dyn ExternalContainers>, String),
}

impl ContainerLocation {
    /// Opens a blob for reading, from the byte `from` on.
    pub(super) async fn open(&self, blob: &str, from: u64) -> Result<OpenContainerBlob, ContainerError> {
        match self {
            Self::Own(folder) => {
                let range = (from > 0).then_some(ByteRange { from, to: None });
                let open = folder.open(&own_blob(blob)?, range).await.map_err(|error| match error {
                    BlobError::NotFound => ContainerError::NotFound,
                    other => other.into(),
                })?;
                let Blob { bytes, etag, .. } = open.blob;
                Ok(OpenContainerBlob { blob: ContainerBlob { bytes, etag }, stream: open.stream })
            }
            Self::External(containers, url) => containers.open(url, blob, from).await,
        }
    }

    /// Creates or replaces a blob. It appears only when it is complete.
    pub(super) async fn put(&self, blob: &str, stream: &mut dyn ByteStream) -> Result<(), ContainerError> {
        match self {
            Self::Own(folder) => {
                let mut options = PutOptions::default();
                options.properties.insert("content-type".to_owned(), "application/octet-stream".to_owned());
                folder.put(&own_blob(blob)?, options, stream).await?;
                Ok(())
            }
            Self::External(containers, url) => containers.put(url, blob, stream).await,
        }
    }
}

/// Returns the name of a blob of the hub's own container.
fn own_blob(name: &str) -> Result<BlobName, ContainerError> {
    BlobName::in_container(name).map_err(|error| ContainerError::Refused(error.to_string()))
}

/// Checks the name of a blob of a job.
pub(super) fn check_blob_name(name: &str) -> Result<(), HubError> {
    BlobName::in_container(name).map(drop).map_err(|error| {
        HubError::new(ErrorCode::ArgumentInvalid, format!("The blob name {name:?} is not valid: {error}."))
    })
}

impl Hub {
    /// Returns the URL of the hub's own container, without a signature; `None` if the hub stores no files.
    pub(super) fn own_container_url(&self) -> Option<String> {
        let endpoint = self.blob_folder()?.endpoint();
        let scheme = if endpoint.https { "https" } else { "http" };
        Some(format!("{scheme}://{}/{CONTAINER}", endpoint.host))
    }

    /// Returns the container of a URL. Does not check a signature.
    pub(super) fn container(&self, url: &str) -> Result<ContainerLocation, ContainerError> {
        if let (Some(FileStorage::Folder(folder)), true) = (&self.files, self.is_own_container(url)) {
            return Ok(ContainerLocation::Own(folder.clone()));
        }
        let containers = self.containers.as_ref().ok_or_else(|| {
            ContainerError::NotAllowed("the hub may reach no storage (files.import_hosts)".to_owned())
        })?;
        containers.check(url)?;
        Ok(ContainerLocation::External(containers.clone(), url.to_owned()))
    }

    fn is_own_container(&self, url: &str) -> bool {
        let base = without_signature(url).trim_end_matches('/');
        self.own_container_url().is_some_and(|own| own.eq_ignore_ascii_case(base))
    }

    /// Checks that a URL is one of a container that a job may use, for reading or writing. The hub verifies signatures of its
    /// own container; other storage does that itself when the job runs.
    pub(super) fn check_container(&self, url: &str, is_written: bool) -> Result<(), HubError> {
        let invalid = |text: String| HubError::new(ErrorCode::BlobContainerValidationError, text);
        let location = self
            .container(url)
            .map_err(|error| invalid(format!("The container cannot be used: {error}.")))?;
        let ContainerLocation::Own(folder) = location else { return Ok(()) };
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let sas = BlobSasToken::parse(query)
            .map_err(|error| invalid(format!("The URI of the container has no valid signature: {error}.")))?;
        let endpoint = folder.endpoint();
        let address = BlobAddress { account: &endpoint.account, container: CONTAINER, blob: "" };
        if !sas.is_for_container() || !self.url_signing_keys.verify(&sas, address) {
            return Err(invalid(
                "The URI of the container has no valid signature; `ferrohub files container-url` prints one."
                    .to_owned(),
            ));
        }
        if sas.expiry() <= self.clock.now() {
            return Err(invalid(
                "The URI of the container has expired; `ferrohub files container-url` prints a new one."
                    .to_owned(),
            ));
        }
        let right = if is_written { BlobRight::Write } else { BlobRight::Read };
        if !sas.rights().contains(right) {
            return Err(invalid(format!(
                "The signature of the container does not grant the right {right:?}."
            )));
        }
        Ok(())
    }
}
