//! The holder of a signed URL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::blob_sas::{BlobRight, BlobRights};
use ferrohub_model::file::BlobName;

use crate::files::BlobFolder;
use crate::operations::Operation;

/// The holder of a signed URL for one file of the hub's own folder, or for the container for import and export.
pub struct BlobCaller {
    folder: Arc<dyn BlobFolder>,
    /// `None`: the container itself.
    name: Option<BlobName>,
    rights: BlobRights,
    remaining: Duration,
}

/// Why a request on a blob is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobDenied {
    /// The hub has no folder for files.
    NoFolder,
    /// The request has no signature.
    NoSignature,
    /// The signature is invalid. The value is the reason, a constant for logs; it is not sent to the caller.
    InvalidSignature(&'static str),
    /// The signature is valid but does not grant the required right.
    MissingRight,
    /// The store failed, so the hub does not know whether the signature is valid.
    StoreFailed,
}

impl BlobCaller {
    pub(crate) fn new(
        folder: Arc<dyn BlobFolder>,
        name: BlobName,
        rights: BlobRights,
        remaining: Duration,
    ) -> Self {
        Self { folder, name: Some(name), rights, remaining }
    }

    /// The holder of a URL of the container for import and export, who asks for one of its blobs or, with `None`, for the
    /// container itself.
    pub(crate) fn of_container(
        folder: Arc<dyn BlobFolder>,
        name: Option<BlobName>,
        rights: BlobRights,
        remaining: Duration,
    ) -> Self {
        Self { folder, name, rights, remaining }
    }

    /// Returns the owner of the file: the id of a device, or a text that is no id for the container for import and export.
    #[must_use]
    pub fn owner(&self) -> &str {
        match &self.name {
            Some(name) => name.device(),
            None => BlobName::container_owner(),
        }
    }

    /// Returns the name of the file. Fails if the request is for the container itself.
    pub(crate) fn name(&self) -> Result<&BlobName, BlobDenied> {
        self.name.as_ref().ok_or(BlobDenied::MissingRight)
    }

    /// Returns the time until the URL expires.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.remaining
    }

    /// Returns whether the URL permits to replace an existing file, not only to create one.
    #[must_use]
    pub fn may_replace(&self) -> bool {
        self.rights.contains(BlobRight::Write)
    }

    /// Checks the right to an operation before its request is read. The operation checks it again.
    ///
    /// # Errors
    ///
    /// [`BlobDenied::MissingRight`].
    pub fn check(&self, operation: Operation) -> Result<(), BlobDenied> {
        self.permit(operation).map(drop)
    }

    /// Returns the folder if the URL grants one of the rights of the operation.
    pub(crate) fn permit(&self, operation: Operation) -> Result<&dyn BlobFolder, BlobDenied> {
        if operation.url_rights().iter().any(|right| self.rights.contains(*right)) {
            return Ok(&*self.folder);
        }
        Err(BlobDenied::MissingRight)
    }
}

impl fmt::Debug for BlobCaller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder: _, name, rights, remaining } = self;
        formatter
            .debug_struct("BlobCaller")
            .field("name", name)
            .field("rights", rights)
            .field("remaining", remaining)
            .finish_non_exhaustive()
    }
}
