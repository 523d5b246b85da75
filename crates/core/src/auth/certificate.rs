//! Device certificates: thumbprints, and certificate chains to the certificate authorities (CAs) of the hub.
//!
//! The TLS handshake has already proven that the peer has the private key. This module decides whether the hub trusts
//! the certificate. webpki verifies chains; x509-parser only reads names and dates.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ferrohub_model::Timestamp;
use ring::digest;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::registry::Thumbprint;

/// Why a certificate is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The DER encoding is not a valid certificate.
    #[error("the certificate cannot be parsed")]
    Malformed,
    /// The identity does not list the certificate's thumbprint.
    #[error("the certificate's thumbprint is not one of the identity's thumbprints")]
    Thumbprint,
    /// The current time is outside the certificate's validity period.
    #[error("the certificate is expired or not yet valid")]
    Validity,
    /// The subject has no common name, several, or another one than expected.
    #[error(
        "the certificate's common name is not the device id (or, in a proof of possession, the verification code)"
    )]
    CommonName,
    /// The certificate chain does not lead to a verified CA of this hub.
    #[error("the certificate was not issued by a verified certificate authority of this hub")]
    UnknownAuthority,
    /// The certificate is not a CA certificate.
    #[error("the certificate is not a CA certificate (basic constraints)")]
    NotAnAuthority,
}

/// The certificate chain that a peer presented in the TLS handshake: the leaf, then its issuers.
#[derive(Debug, Clone)]
pub struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
}

impl PeerCertificate {
    /// Copies the chain from the handshake. Returns `None` if it is empty.
    #[must_use]
    pub fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        (!chain.is_empty()).then(|| Self { chain: chain.iter().map(|c| c.clone().into_owned()).collect() })
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
        hex(digest::digest(algorithm, self.leaf()).as_ref()) == thumbprint.as_str()
    }

    /// Returns the end of the leaf's validity period if it is valid at `now`.
    ///
    /// # Errors
    /// `Malformed` or `Validity`.
    pub fn check_validity(&self, now: Timestamp) -> Result<Timestamp, CertificateError> {
        validity(&parse(self.leaf())?, now)
    }
}

/// Returns the SHA-256 digest of a certificate's DER: 64 hexadecimal digits, upper case.
#[must_use]
pub fn thumbprint_sha256(der: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, der).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Malformed),
    }
}

fn validity(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<Timestamp, CertificateError> {
    let (from, to) =
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    if (from..=to).contains(&now.unix_seconds()) {
        Ok(Timestamp::from_unix_seconds(to))
    } else {
        Err(CertificateError::Validity)
    }
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, CertificateError> {
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().map_err(|_| CertificateError::CommonName),
        _ => Err(CertificateError::CommonName),
    }
}

/// A certificate authority (CA) whose certificates devices may authenticate with.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The name that the operator gave it.
    pub name: Arc<str>,
    /// The CA certificate, DER.
    pub certificate: CertificateDer<'static>,
    /// Whether its owner proved possession of the private key, or it is in the configuration. An unverified CA is not
    /// trusted.
    pub verified: bool,
    /// The verification code that the pending proof of possession must contain.
    pub verification_code: Option<String>,
    /// Whether it comes from the configuration. Such a CA cannot be changed at run time.
    pub configured: bool,
    /// The subject name, for display.
    pub subject: String,
    /// The validity period: not before, not after.
    pub validity: (Timestamp, Timestamp),
    anchor: TrustAnchor<'static>,
}

impl Authority {
    /// Parses a CA certificate.
    ///
    /// # Errors
    /// `Malformed`, or `NotAnAuthority` if its basic constraints do not mark it as a CA.
    pub fn new(name: &str, der: Vec<u8>, verified: bool, configured: bool) -> Result<Self, CertificateError> {
        let certificate = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|_| CertificateError::Malformed)?
            .to_owned();
        let parsed = parse(&certificate)?;
        if !parsed.is_ca() {
            return Err(CertificateError::NotAnAuthority);
        }
        let validity = (
            Timestamp::from_unix_seconds(parsed.validity().not_before.timestamp()),
            Timestamp::from_unix_seconds(parsed.validity().not_after.timestamp()),
        );
        let subject = parsed.subject().to_string();
        Ok(Self {
            name: name.into(),
            certificate,
            verified,
            verification_code: None,
            configured,
            subject,
            validity,
            anchor,
        })
    }

    /// Returns whether this CA issued `proof` and the common name of `proof` is the verification code.
    pub fn verify_proof_of_possession(&self, proof: &[u8], now: Timestamp) -> Result<bool, CertificateError> {
        let leaf = CertificateDer::from(proof);
        verify_chain(&leaf, &[], std::slice::from_ref(&self.anchor), now)?;
        let parsed = parse(proof)?;
        Ok(self.verification_code.as_deref() == Some(common_name(&parsed)?))
    }
}

/// The certificate authorities of the hub.
#[derive(Debug, Default)]
pub struct Authorities(RwLock<BTreeMap<Arc<str>, Arc<Authority>>>);

impl Authorities {
    /// Returns the CA with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Authority>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Returns all CAs, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Authority>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn insert(&self, authority: Authority) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(authority.name.clone(), Arc::new(authority));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Verifies that the chain of `peer` leads to a verified CA and that the leaf's common name is `id`.
    /// Returns the name of the CA, and the earlier of the leaf's and the CA's end of validity.
    pub fn verify(
        &self,
        peer: &PeerCertificate,
        id: &str,
        now: Timestamp,
    ) -> Result<(Arc<str>, Timestamp), CertificateError> {
        let (leaf, rest) = peer.chain.split_first().ok_or(CertificateError::Malformed)?;
        let parsed = parse(leaf)?;
        let leaf_end = validity(&parsed, now)?;
        for authority in self.all() {
            let is_valid = authority.validity.0 <= now && now <= authority.validity.1;
            if authority.verified
                && is_valid
                && verify_chain(leaf, rest, std::slice::from_ref(&authority.anchor), now).is_ok()
            {
                // The chain is checked first, so that an untrusted certificate never yields an error about its name.
                if common_name(&parsed)? != id {
                    return Err(CertificateError::CommonName);
                }
                return Ok((authority.name.clone(), leaf_end.min(authority.validity.1)));
            }
        }
        Err(CertificateError::UnknownAuthority)
    }
}

/// Accepts any extended key usage. Device certificates are made with many tools: many have no extended key usage, some
/// only server authentication. Only the chain matters, as in Azure.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn verify_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    now: Timestamp,
) -> Result<(), CertificateError> {
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    EndEntityCert::try_from(leaf)
        .map_err(|_| CertificateError::Malformed)?
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchors, intermediates, time, AnyUsage, None, None)
        .map(|_| ())
        .map_err(|error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                CertificateError::Validity
            }
            _ => CertificateError::UnknownAuthority,
        })
}
