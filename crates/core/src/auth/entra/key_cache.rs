//! A cache of the signing keys of one issuer.
//!
//! Keys are fetched at first use, when a token names an unknown key, and once a day. Unauthenticated clients can name
//! any key, so fetches are rate-limited. If the keys cannot be refreshed, the cached ones stay valid for a week, so
//! that the hub works while the issuer is unreachable.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::jwk::PublicKey;
use super::{EntraError, KeySet, KeySource};

/// Minimum time between two fetches.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// Keys older than this are refreshed.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Keys older than this are no longer used.
const STALE_IF_ERROR: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub(super) struct KeyCache {
    issuer: String,
    source: Arc<dyn KeySource>,
    cached: Mutex<CachedKeys>,
    /// Held during a fetch; other callers that need a fetch wait for its result.
    fetch_lock: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct CachedKeys {
    keys: KeySet,
    fetched_at: Option<Instant>,
    last_attempt: Option<Instant>,
}

impl KeyCache {
    pub(super) fn new(issuer: String, source: Arc<dyn KeySource>) -> Self {
        Self { issuer, source, cached: Mutex::default(), fetch_lock: tokio::sync::Mutex::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, CachedKeys> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the key with this id. Does not wait if the key is cached and fresh.
    pub(super) async fn get(&self, id: &str) -> Result<PublicKey, EntraError> {
        if let Some(key) = self.lock().get(id, MAX_AGE) {
            return Ok(key);
        }
        let _guard = self.fetch_lock.lock().await;
        if let Some(key) = self.lock().get(id, MAX_AGE) {
            return Ok(key);
        }
        if self.lock().may_fetch() {
            match self.source.keys(&self.issuer).await {
                Ok(keys) => {
                    let mut cached = self.lock();
                    cached.keys = keys;
                    cached.fetched_at = Some(Instant::now());
                }
                Err(error) => {
                    warn!(issuer = self.issuer, %error, "cannot fetch the signing keys of the issuer")
                }
            }
        }
        let cached = self.lock();
        match (cached.get(id, STALE_IF_ERROR), cached.fetched_at) {
            (Some(key), _) => Ok(key),
            (None, Some(_)) => Err(EntraError::UnknownKey),
            (None, None) => Err(EntraError::KeysUnavailable),
        }
    }
}

impl CachedKeys {
    fn get(&self, id: &str, age: Duration) -> Option<PublicKey> {
        self.fetched_at.filter(|fetched| fetched.elapsed() < age)?;
        self.keys.get(id).cloned()
    }

    /// Returns whether a fetch is permitted now, and if so records the attempt.
    fn may_fetch(&mut self) -> bool {
        let now = Instant::now();
        let permitted =
            self.last_attempt.is_none_or(|attempt| now.duration_since(attempt) >= MIN_FETCH_INTERVAL);
        if permitted {
            self.last_attempt = Some(now);
        }
        permitted
    }
}
