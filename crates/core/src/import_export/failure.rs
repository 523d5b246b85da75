//! Why a run of a job ended before its work was done.

use std::time::Duration;

use super::ContainerError;
use crate::store_error::StoreError;

/// Why a run of a job ended before its work was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunFailure {
    /// The job cannot be done. The text says why, for people, and has no signature.
    #[error("{0}")]
    Failed(String),
    /// The job was cancelled, or another node runs it.
    #[error("the job has ended, or another node runs it")]
    Ended,
    /// The hub stops. The job continues with its next start.
    #[error("the hub is stopping")]
    Stopping,
    /// The store failed. The job is tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Storage failed in a way that may be temporary. The job is tried again a few times.
    #[error("{0}")]
    Storage(String),
}

impl RunFailure {
    /// Returns the failure of an operation on a blob.
    pub(super) fn of_blob(blob: &str, error: ContainerError) -> Self {
        let text = format!("The blob {blob}: {error}.");
        if error.is_temporary() { Self::Storage(text) } else { Self::Failed(text) }
    }

    /// Returns the failure of a job that has run for too long.
    pub(super) fn too_slow(limit: Duration) -> Self {
        Self::Failed(format!("The job did not end within {} hours.", limit.as_secs() / 3600))
    }
}
