//! The certificate authorities of the hub, and the verification of device certificates with them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ferrohub_model::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::chain::{self, Issued};
use super::{Authority, CertificateError, PeerCertificate, name, parse, validity};

/// A refusal is remembered for this long: a certificate of the chain may become valid.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(60);

/// The certificate authorities of the hub.
#[derive(Debug)]
pub struct Authorities {
    known: RwLock<Arc<Known>>,
    /// Limits the verifications at a time, so that they leave processors to everything else.
    permits: Arc<Semaphore>,
    #[cfg(test)]
    pub(super) verifications: std::sync::atomic::AtomicUsize,
}

/// An immutable state of the authorities.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Increases with every change.
    generation: u64,
    by_name: BTreeMap<Arc<str>, Arc<Authority>>,
}

/// The result of a verification, and as long as it counts.
#[derive(Debug)]
pub(super) struct Verdict {
    generation: u64,
    until: Timestamp,
    issued: Result<Issued, CertificateError>,
}

impl Default for Authorities {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            known: RwLock::default(),
            permits: Arc::new(Semaphore::new((processors / 2).max(1))),
            #[cfg(test)]
            verifications: Default::default(),
        }
    }
}

impl Authorities {
    /// Returns the CA with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Authority>> {
        self.known().by_name.get(name).cloned()
    }

    /// Returns all CAs, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Authority>> {
        self.known().by_name.values().cloned().collect()
    }

    /// Returns a number that increases with every change of the CAs. If it is the same as before an authentication, the
    /// result of the authentication still holds.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.known().generation
    }

    pub(crate) fn insert(&self, authority: Authority) {
        self.change(|by_name| drop(by_name.insert(authority.name.clone(), Arc::new(authority))));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.change(|by_name| drop(by_name.remove(name)));
    }

    /// Replaces all CAs in one step.
    pub(crate) fn replace(&self, authorities: Vec<Authority>) {
        let authorities =
            authorities.into_iter().map(|authority| (authority.name.clone(), Arc::new(authority)));
        self.change(|by_name| *by_name = authorities.collect());
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Arc<str>, Arc<Authority>>)) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::make_mut(&mut known);
        known.generation += 1;
        change(&mut known.by_name);
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies that the leaf's common name is `id` and that the chain of `peer` leads to a verified CA.
    /// Returns the name of the CA, and the earliest end of validity in the chain.
    pub async fn verify(
        &self,
        peer: &PeerCertificate,
        id: &str,
        now: Timestamp,
    ) -> Result<(Arc<str>, Timestamp), CertificateError> {
        let leaf_end = verify_name(peer.leaf(), id, now)?;
        let issued = self.issued(peer, now).await?;
        Ok((issued.authority, leaf_end.min(issued.end)))
    }

    /// Verifies the chain, once per connection: on a thread for blocking work, because signatures take milliseconds.
    async fn issued(&self, peer: &PeerCertificate, now: Timestamp) -> Result<Issued, CertificateError> {
        let mut verdict = peer.verdict.lock().await;
        if let Some(verdict) = &*verdict
            && verdict.generation == self.generation()
            && now < verdict.until
        {
            return verdict.issued.clone();
        }
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| CertificateError::Interrupted)?;
        #[cfg(test)]
        self.verifications.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // The state from before the verification: a later change makes the verdict stale.
        let (chain, known) = (peer.chain.clone(), self.known());
        let generation = known.generation;
        let verification = spawn_blocking(move || {
            // The thread keeps the permit, even if the connection ends meanwhile.
            let _permit = permit;
            let authorities: Vec<&Authority> = known.by_name.values().map(|authority| &**authority).collect();
            chain::verify(&chain, &authorities, now, webpki::ALL_VERIFICATION_ALGS)
        });
        let issued = verification.await.map_err(|_| CertificateError::Interrupted)?;
        let until = match &issued {
            Ok(issued) => issued.end,
            Err(_) => Timestamp::from_unix_seconds(
                now.unix_seconds().saturating_add_unsigned(REFUSAL_LIFETIME.as_secs()),
            ),
        };
        *verdict = Some(Verdict { generation, until, issued: issued.clone() });
        issued
    }
}

/// Checks what needs no signature. Returns the end of the certificate's validity.
fn verify_name(leaf: &[u8], id: &str, now: Timestamp) -> Result<Timestamp, CertificateError> {
    let parsed = parse(leaf)?;
    let end = validity(&parsed, now)?;
    let common_name = name::common_name(&parsed)?;
    if common_name != id {
        return Err(CertificateError::CommonName(name::shown(&common_name)));
    }
    Ok(end)
}
