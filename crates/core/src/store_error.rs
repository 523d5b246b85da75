//! Why an operation of the store or of the event log failed.

use ferrohub_model::{ErrorCode, HubError};

use crate::log_limited;
use crate::uncancelled::Interrupted;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is closing or closed; nothing was written.
    #[error("the store is closed")]
    Closed,
    /// The disk is full; nothing was written. The text names the file and the remedy.
    #[error("{0}")]
    DiskFull(String),
    /// The disk or the database failed; nothing was written.
    #[error("the disk or the database failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored value cannot be decoded.
    #[error("the store contains an unreadable value: {0}")]
    Corrupt(String),
}

impl From<Interrupted> for StoreError {
    fn from(error: Interrupted) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Maps a store error to the error for the caller, and logs the cause.
pub(crate) fn store_failed(error: StoreError) -> HubError {
    if matches!(error, StoreError::Closed) {
        return HubError::new(ErrorCode::ServiceUnavailable, "The hub is stopping.");
    }
    // Limited: a request that is not authorized reads the store too, and must not be able to fill the log.
    log_limited!(error, "a store operation failed", "store_failed", %error);
    if matches!(error, StoreError::DiskFull(_)) {
        return HubError::new(
            ErrorCode::ServiceUnavailable,
            "A disk of the hub is full; the log of the hub names the file.",
        );
    }
    HubError::new(ErrorCode::ServerError, "The hub cannot access its store; the log of the hub says why.")
}
