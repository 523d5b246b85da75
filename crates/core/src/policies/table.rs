//! Shared access policies: each has a name, rights and two keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ferrohub_model::{Right, Rights, SharedAccessKey, Timestamp};
use tokio::sync::watch;

/// Where a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySource {
    /// The configuration. Its keys can only be changed there.
    Configuration,
    /// The store. Its keys can be changed at run time.
    Store,
}

/// A shared access policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name; the `skn` of tokens.
    pub name: Arc<str>,
    /// The rights that it grants.
    pub rights: Rights,
    /// The primary key. Tokens may be signed with either key.
    pub primary_key: SharedAccessKey,
    /// The secondary key.
    pub secondary_key: SharedAccessKey,
    /// Where the policy comes from.
    pub source: PolicySource,
}

/// The five policies of a new hub.
pub(crate) const DEFAULT_POLICIES: [(&str, Rights); 5] = [
    ("iothubowner", Rights::ALL),
    ("service", Rights::of(&[Right::ServiceConnect])),
    ("device", Rights::of(&[Right::DeviceConnect])),
    ("registryRead", Rights::of(&[Right::RegistryRead])),
    ("registryReadWrite", Rights::of(&[Right::RegistryRead, Right::RegistryWrite])),
];

/// The active policies, and a cache of verified tokens.
#[derive(Debug, Default)]
pub struct Policies {
    inner: RwLock<Inner>,
    /// Notified after every change of a policy.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    by_name: BTreeMap<Arc<str>, Arc<Policy>>,
    /// Verified tokens by digest, because a service sends the same token many times. An entry is valid until the token
    /// expires or a policy changes. The key is a digest so that response times reveal nothing about cached tokens.
    token_cache: HashMap<TokenDigest, CachedToken>,
}

/// SHA-256 of a token's text.
pub(crate) type TokenDigest = [u8; 32];

#[derive(Debug)]
struct CachedToken {
    policy: Arc<Policy>,
    expiry: Timestamp,
}

/// Maximum number of cached tokens. Further tokens are verified on every request.
const MAX_CACHED_TOKENS: usize = 4096;

impl Policies {
    /// Returns the policy with this name; names are case-sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Policy>> {
        self.read().by_name.get(name).cloned()
    }

    /// Returns all policies, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Policy>> {
        self.read().by_name.values().cloned().collect()
    }

    pub(crate) fn insert(&self, policy: Policy) {
        let mut inner = self.write();
        inner.token_cache.clear();
        inner.by_name.insert(policy.name.clone(), Arc::new(policy));
        drop(inner);
        self.changes.send_replace(());
    }

    /// Replaces all policies in one step. Policies that are equal to the current ones of their names stay the current
    /// ones. Returns the names of those that are removed or have other keys or rights now.
    pub(crate) fn replace(&self, policies: Vec<Policy>) -> Vec<Arc<str>> {
        let mut inner = self.write();
        let old = std::mem::take(&mut inner.by_name);
        for policy in policies {
            let kept = old.get(&policy.name).filter(|old| ***old == policy).cloned();
            inner.by_name.insert(policy.name.clone(), kept.unwrap_or_else(|| Arc::new(policy)));
        }
        let is_current = |(name, policy): (&Arc<str>, &Arc<Policy>)| {
            inner.by_name.get(name).is_some_and(|new| Arc::ptr_eq(new, policy))
        };
        let changed: Vec<_> =
            old.iter().filter(|entry| !is_current(*entry)).map(|(name, _)| name.clone()).collect();
        if !changed.is_empty() {
            inner.token_cache.clear();
        }
        drop(inner);
        self.changes.send_replace(());
        changed
    }

    /// Returns whether the policy is still the current one of its name.
    pub(crate) fn is_current(&self, policy: &Arc<Policy>) -> bool {
        self.read().by_name.get(&policy.name).is_some_and(|current| Arc::ptr_eq(current, policy))
    }

    /// Returns once the policy is not the current one of its name any more. Cancel-safe.
    pub(crate) async fn replaced(&self, policy: &Arc<Policy>) {
        let mut changes = self.changes.subscribe();
        while self.is_current(policy) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns the policy and the expiry of a cached token that has not expired.
    pub(crate) fn cached_policy(
        &self,
        token: &TokenDigest,
        now: Timestamp,
    ) -> Option<(Arc<Policy>, Timestamp)> {
        let inner = self.read();
        let cached = inner.token_cache.get(token).filter(|cached| cached.expiry > now)?;
        Some((cached.policy.clone(), cached.expiry))
    }

    /// Caches a verified token, unless its policy has changed since the verification.
    pub(crate) fn cache_token(
        &self,
        token: TokenDigest,
        policy: &Arc<Policy>,
        expiry: Timestamp,
        now: Timestamp,
    ) {
        let mut inner = self.write();
        let current = inner.by_name.get(&policy.name).is_some_and(|current| Arc::ptr_eq(current, policy));
        if !current {
            return;
        }
        if inner.token_cache.len() >= MAX_CACHED_TOKENS {
            inner.token_cache.retain(|_, cached| cached.expiry > now);
        }
        if inner.token_cache.len() < MAX_CACHED_TOKENS {
            inner.token_cache.insert(token, CachedToken { policy: policy.clone(), expiry });
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> Policy {
        Policy {
            name: name.into(),
            rights: Rights::ALL,
            primary_key: SharedAccessKey::generate(),
            secondary_key: SharedAccessKey::generate(),
            source: PolicySource::Store,
        }
    }

    #[test]
    fn a_token_is_cached_until_it_expires_or_a_policy_changes() {
        let policies = Policies::default();
        policies.insert(policy("service"));
        let (soon, late) = (Timestamp::from_unix_seconds(10), Timestamp::from_unix_seconds(20));
        let now = Timestamp::from_unix_seconds(1);
        let signer = policies.get("service").unwrap();
        policies.cache_token([1; 32], &signer, soon, now);
        assert!(policies.cached_policy(&[1; 32], now).is_some());
        assert!(policies.cached_policy(&[2; 32], now).is_none());
        assert!(policies.cached_policy(&[1; 32], soon).is_none(), "the token expires exactly at its expiry");
        policies.insert(policy("service"));
        assert!(policies.cached_policy(&[1; 32], now).is_none(), "a policy change clears the cache");
        policies.cache_token([1; 32], &signer, late, now);
        assert!(
            policies.cached_policy(&[1; 32], now).is_none(),
            "a token verified with a replaced policy is not cached"
        );
    }

    #[test]
    fn a_replacement_names_the_policies_that_are_not_the_same_any_more() {
        let policies = Policies::default();
        let (same, new_keys, removed) = (policy("same"), policy("newKeys"), policy("removed"));
        for policy in [&same, &new_keys, &removed] {
            policies.insert(policy.clone());
        }
        let before = policies.get("same").unwrap();
        let late = Timestamp::from_unix_seconds(20);
        let now = Timestamp::from_unix_seconds(1);
        policies.cache_token([1; 32], &before, late, now);
        let unchanged = policies.replace(vec![same.clone(), new_keys.clone(), removed]);
        assert!(unchanged.is_empty() && policies.is_current(&before));
        assert!(policies.cached_policy(&[1; 32], now).is_some());
        let changed = policies.replace(vec![same, policy("newKeys"), policy("added")]);
        assert_eq!(changed, ["newKeys".into(), "removed".into()]);
        assert!(policies.is_current(&before) && policies.get("removed").is_none());
        assert!(policies.cached_policy(&[1; 32], now).is_none());
    }

    #[test]
    fn the_token_cache_is_bounded_and_expired_tokens_are_evicted() {
        let policies = Policies::default();
        policies.insert(policy("service"));
        let signer = policies.get("service").unwrap();
        let now = Timestamp::from_unix_seconds(1);
        let digest = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        let soon = Timestamp::from_unix_seconds(10);
        for number in 0..=MAX_CACHED_TOKENS {
            policies.cache_token(digest(number), &signer, soon, now);
        }
        assert_eq!(policies.read().token_cache.len(), MAX_CACHED_TOKENS);
        let late = Timestamp::from_unix_seconds(20);
        policies.cache_token([9; 32], &signer, late, soon);
        assert_eq!(policies.read().token_cache.len(), 1);
    }
}
