//! The keys that sign blob URLs of the hub's own folder.

use std::sync::{PoisonError, RwLock};

use ferrohub_model::blob_sas::{BlobAddress, BlobSasToken};
use ferrohub_model::{SharedAccessKey, Timestamp};

use super::StoredSigningKey;

/// How long a key signs URLs. The previous key is kept as well. No URL is valid longer than a key signs, so every URL's
/// key is available until the URL expires.
const KEY_LIFETIME_MILLIS: i64 = 7 * 24 * 3600 * 1000;

/// The URL signing keys, newest first. The newest signs; signatures of all of them are valid.
#[derive(Debug, Default)]
pub(crate) struct UrlSigningKeys(RwLock<Vec<StoredSigningKey>>);

impl UrlSigningKeys {
    /// Number of keys kept: the one that signs, and the previous one for URLs that it signed.
    pub(crate) const RETAINED: usize = 2;

    /// Replaces the keys; newest first.
    pub(crate) fn set(&self, keys: Vec<StoredSigningKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Returns the key that signs, or `None` before the first key is set.
    pub(crate) fn current_key(&self) -> Option<SharedAccessKey> {
        self.read(|keys| keys.first().map(|newest| newest.key.clone()))
    }

    /// Returns whether the key that signs is too old, as far as this node knows.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.read(|keys| is_due(keys.first().map(|newest| newest.created), now))
    }

    /// Returns whether one of the keys signed `sas` for `blob`.
    pub(crate) fn verify(&self, sas: &BlobSasToken, blob: BlobAddress<'_>) -> bool {
        self.read(|keys| keys.iter().any(|key| sas.is_signed_by(&key.key, blob)))
    }

    fn read<T>(&self, work: impl FnOnce(&[StoredSigningKey]) -> T) -> T {
        work(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns whether a new key is needed if the newest was created then. `None` stands for no key.
pub(super) fn is_due(newest: Option<Timestamp>, now: Timestamp) -> bool {
    newest.is_none_or(|created| created.plus_millis(KEY_LIFETIME_MILLIS) <= now)
}

#[cfg(test)]
mod tests {
    use ferrohub_model::blob_sas::{BlobRight, BlobRights, sign};

    use super::*;

    #[test]
    fn a_signature_of_an_older_key_is_valid_until_the_key_is_removed() {
        let key = |second| StoredSigningKey {
            key: SharedAccessKey::generate(),
            created: Timestamp::from_unix_seconds(second),
        };
        let (first, second, third) = (key(1), key(2), key(3));
        let blob = BlobAddress { account: "a", container: "c", blob: "d/f" };
        let rights = BlobRights::of(&[BlobRight::Read]);
        let sas = sign(blob, rights, Timestamp::from_unix_seconds(9), true, &first.key);
        let sas = BlobSasToken::parse(sas.trim_start_matches('?')).unwrap();
        let keys = UrlSigningKeys::default();
        assert!(
            !keys.verify(&sas, blob) && keys.current_key().is_none(),
            "without keys no signature is valid"
        );
        keys.set(vec![first.clone()]);
        assert!(keys.verify(&sas, blob));
        keys.set(vec![second.clone(), first]);
        assert!(keys.verify(&sas, blob) && keys.current_key() == Some(second.key.clone()));
        assert!(keys.is_due(second.created.plus_millis(KEY_LIFETIME_MILLIS)) && !keys.is_due(second.created));
        keys.set(vec![third, second]);
        assert!(!keys.verify(&sas, blob));
    }
}
