//! The keys of one issuer, kept.
//!
//! Fetched when first needed, again when a token names a key that is not known, and once a day. Strangers can
//! name any key they like, so asking for unknown keys is limited in rate. Keys that cannot be fetched anew stay
//! good for a week, so that the hub works on while the issuer is away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::jwk::PublicKey;
use super::{EntraError, KeySet, KeySource};

/// Between two fetches, at least.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// Keys older than this are fetched anew.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Keys older than this are not used any more.
const STALE_IF_ERROR: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub(super) struct KeyCache {
    issuer: String,
    source: Arc<dyn KeySource>,
    cached: Mutex<CachedKeys>,
    /// Held by whoever fetches; the others who need a fetch wait for that one.
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

    /// The key of this id. Whoever asks for a known and fresh one waits for nobody.
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
                Err(error) => warn!(issuer = self.issuer, %error, "the issuer's keys cannot be had"),
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

    /// Whether it is time to ask the issuer; counts as asked then.
    fn may_fetch(&mut self) -> bool {
        let now = Instant::now();
        let may = self.last_attempt.is_none_or(|tried| now.duration_since(tried) >= MIN_FETCH_INTERVAL);
        if may {
            self.last_attempt = Some(now);
        }
        may
    }
}
