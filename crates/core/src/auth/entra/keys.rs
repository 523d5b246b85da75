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
const NOT_MORE_OFTEN_THAN: Duration = Duration::from_secs(30);
/// Keys older than this are fetched anew.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// Keys older than this are not used any more.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub(super) struct Keys {
    issuer: String,
    source: Arc<dyn KeySource>,
    known: Mutex<Known>,
    /// Held by whoever fetches; the others who need a fetch wait for that one.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: KeySet,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl Keys {
    pub(super) fn new(issuer: String, source: Arc<dyn KeySource>) -> Self {
        Self { issuer, source, known: Mutex::default(), fetching: tokio::sync::Mutex::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of this id. Whoever asks for a known and fresh one waits for nobody.
    pub(super) async fn find(&self, id: &str) -> Result<PublicKey, EntraError> {
        if let Some(key) = self.lock().get(id, FRESH) {
            return Ok(key);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(key) = self.lock().get(id, FRESH) {
            return Ok(key);
        }
        if self.lock().may_try() {
            match self.source.keys(&self.issuer).await {
                Ok(keys) => {
                    let mut known = self.lock();
                    known.keys = keys;
                    known.fetched = Some(Instant::now());
                }
                Err(cause) => warn!(issuer = self.issuer, %cause, "the issuer's keys cannot be had"),
            }
        }
        let known = self.lock();
        match (known.get(id, STALE), known.fetched) {
            (Some(key), _) => Ok(key),
            (None, Some(_)) => Err(EntraError::UnknownKey),
            (None, None) => Err(EntraError::KeysUnavailable),
        }
    }
}

impl Known {
    fn get(&self, id: &str, age: Duration) -> Option<PublicKey> {
        self.fetched.filter(|fetched| fetched.elapsed() < age)?;
        self.keys.get(id).cloned()
    }

    /// Whether it is time to ask the issuer; counts as asked then.
    fn may_try(&mut self) -> bool {
        let now = Instant::now();
        let may = self.tried.is_none_or(|tried| now.duration_since(tried) >= NOT_MORE_OFTEN_THAN);
        if may {
            self.tried = Some(now);
        }
        may
    }
}
