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

#[cfg(test)]
mod tests {
    use ferrohub_model::blob_sas::{BlobRight, BlobRights, sign};

    use super::*;

    #[test]
    fn what_an_older_key_signed_is_good_until_the_key_is_forgotten() {
        let key = |second| StoredBlobKey {
            key: SharedAccessKey::generate(),
            made: Timestamp::from_unix_seconds(second),
        };
        let (first, second, third) = (key(1), key(2), key(3));
        let blob = BlobAddress { account: "a", container: "c", blob: "d/f" };
        let rights = BlobRights::of(&[BlobRight::Read]);
        let sas = sign(blob, rights, Timestamp::from_unix_seconds(9), true, &first.key);
        let sas = PresentedSas::parse(sas.trim_start_matches('?')).unwrap();
        let keys = UrlKeys::default();
        assert!(!keys.signed(&sas, blob) && keys.signing().is_none(), "no keys let nobody in");
        keys.set(vec![first.clone()]);
        assert!(keys.signed(&sas, blob));
        keys.set(vec![second.clone(), first]);
        assert!(keys.signed(&sas, blob) && keys.signing() == Some(second.key.clone()));
        assert_eq!(keys.made(), Some(second.made));
        keys.set(vec![third, second]);
        assert!(!keys.signed(&sas, blob));
    }
}
