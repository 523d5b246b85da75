//! A certificate authority (CA) that devices may authenticate with.

use std::sync::Arc;

use ferrohub_model::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::x509::X509Version;

use super::{CertificateError, chain, name, parse, period};

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
    /// The maximum number of intermediate CAs below it.
    pub(super) path_length: Option<u32>,
    pub(super) anchor: TrustAnchor<'static>,
}

impl Authority {
    /// Parses a CA certificate.
    ///
    /// # Errors
    /// `Unreadable`, or the reason why the certificate is not one of a CA.
    pub fn new(name: &str, der: Vec<u8>, verified: bool, configured: bool) -> Result<Self, CertificateError> {
        let certificate = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|_| CertificateError::Unreadable)?
            .to_owned();
        let parsed = parse(&certificate)?;
        if parsed.version() != X509Version::V3 {
            return Err(CertificateError::AuthorityVersion1);
        }
        if !parsed.is_ca() {
            return Err(CertificateError::NotAnAuthority);
        }
        let constraints = parsed.basic_constraints().map_err(|_| CertificateError::Unreadable)?;
        let usage = parsed.key_usage().map_err(|_| CertificateError::Unreadable)?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(CertificateError::AuthorityUsage);
        }
        let path_length = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        let (validity, subject) = (period(&parsed), parsed.subject().to_string());
        Ok(Self {
            name: name.into(),
            certificate,
            verified,
            verification_code: None,
            configured,
            subject,
            validity,
            path_length,
            anchor,
        })
    }

    /// Checks that this CA issued `proof` and that the common name of `proof` is the verification code.
    pub fn verify_proof_of_possession(&self, proof: &[u8], now: Timestamp) -> Result<(), CertificateError> {
        chain::verify_issued_by(&CertificateDer::from(proof), self, now)?;
        let parsed = parse(proof)?;
        match self.verification_code.as_deref() == Some(&*name::common_name(&parsed)?) {
            true => Ok(()),
            false => Err(CertificateError::VerificationCode),
        }
    }

    pub(super) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.validity.0 <= now && now <= self.validity.1
    }
}
