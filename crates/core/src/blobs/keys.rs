//! What signs URLs of files.

use std::sync::{PoisonError, RwLock};

use ferrohub_model::blob_sas::{BlobAddress, PresentedSas};
use ferrohub_model::{SharedAccessKey, Timestamp};

use crate::store::StoredBlobKey;

/// Keys, the newest first: that one signs, and what any of them signed is good.
#[derive(Debug, Default)]
pub(crate) struct UrlKeys(RwLock<Vec<StoredBlobKey>>);

impl UrlKeys {
    /// How many are kept: the one that signs, and the one before it for the URLs that it signed.
    pub(crate) const KEPT: usize = 2;

    /// Takes these, the newest first.
    pub(crate) fn set(&self, keys: Vec<StoredBlobKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The key that signs; none before there is one.
    pub(crate) fn signing(&self) -> Option<SharedAccessKey> {
        self.read(|keys| keys.first().map(|newest| newest.key.clone()))
    }

    /// When the key that signs was made.
    pub(crate) fn made(&self) -> Option<Timestamp> {
        self.read(|keys| keys.first().map(|newest| newest.made))
    }

    /// Whether one of them signed this.
    pub(crate) fn signed(&self, sas: &PresentedSas, blob: BlobAddress<'_>) -> bool {
        self.read(|keys| keys.iter().any(|key| sas.is_signed_by(&key.key, blob)))
    }

    fn read<T>(&self, work: impl FnOnce(&[StoredBlobKey]) -> T) -> T {
        work(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
