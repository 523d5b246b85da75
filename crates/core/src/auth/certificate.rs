//! Device certificates: thumbprints, and certificate chains to the certificate authorities (CAs) of the hub.
//!
//! The TLS handshake has already proven that the peer has the private key. This module decides whether the hub trusts
//! the certificate. webpki verifies chains; x509-parser reads names, dates and usages.

mod authorities;
mod authority;
mod chain;
mod error;
mod name;

use data_encoding::HEXUPPER;
use std::sync::Arc;

use ferrohub_model::Timestamp;
use ring::digest;
use rustls_pki_types::CertificateDer;
use tokio::sync::Mutex;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::registry::Thumbprint;

pub use authorities::Authorities;
use authorities::Verdict;
pub use authority::Authority;
pub use error::CertificateError;

/// The certificate chain that a peer presented in the TLS handshake: the leaf, then its issuers. Clones share the chain
/// and the result of its verification.
#[derive(Debug, Clone)]
pub struct PeerCertificate {
    chain: Arc<[CertificateDer<'static>]>,
    /// The result of the last verification. The lock is held while one runs, so that there is only one at a time.
    verdict: Arc<Mutex<Option<Verdict>>>,
}

impl PeerCertificate {
    /// Copies the chain from the handshake. Returns `None` if it is empty.
    #[must_use]
    pub fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain: Arc<[_]> = chain.iter().map(|c| c.clone().into_owned()).collect();
        (!chain.is_empty()).then(|| Self { chain, verdict: Arc::default() })
    }

    fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
    }

    /// Returns whether the SHA-1 or SHA-256 digest of the leaf is `thumbprint`.
    #[must_use]
    pub fn has_thumbprint(&self, thumbprint: &Thumbprint) -> bool {
        let algorithm = match thumbprint.as_str().len() {
            40 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            _ => &digest::SHA256,
        };
        HEXUPPER.encode(digest::digest(algorithm, self.leaf()).as_ref()) == thumbprint.as_str()
    }

    /// Returns the end of the leaf's validity period if it is valid at `now`.
    ///
    /// # Errors
    /// `Unreadable` or `Validity`.
    pub fn check_validity(&self, now: Timestamp) -> Result<Timestamp, CertificateError> {
        validity(&parse(self.leaf())?, now)
    }
}

/// Returns the SHA-256 digest of a certificate's DER: 64 hexadecimal digits, upper case.
#[must_use]
pub fn thumbprint_sha256(der: &[u8]) -> String {
    HEXUPPER.encode(digest::digest(&digest::SHA256, der).as_ref())
}

/// Returns the subject and the issuer of a certificate as text.
///
/// # Errors
/// `Unreadable`.
pub fn certificate_subject_and_issuer(der: &[u8]) -> Result<(String, String), CertificateError> {
    let certificate = parse(der)?;
    Ok((certificate.subject().to_string(), certificate.issuer().to_string()))
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Unreadable),
    }
}

fn validity(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<Timestamp, CertificateError> {
    let (from, to) = period(certificate);
    if from <= now && now.unix_seconds() <= to.unix_seconds() {
        Ok(to)
    } else {
        Err(CertificateError::Validity { from, to })
    }
}

/// Returns the validity period: not before, not after.
fn period(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let validity = certificate.validity();
    (
        Timestamp::from_unix_seconds(validity.not_before.timestamp()),
        Timestamp::from_unix_seconds(validity.not_after.timestamp()),
    )
}

#[cfg(test)]
mod tests;
