//! Requests a certificate from every client, requires none, and leaves its verification to the hub.
//!
//! TLS only proves that the peer has the private key of the certificate that it presents. Only the key of the
//! certificate is used for that: a version 1 certificate or one with an unknown critical extension has a key as well.
//! `core` verifies the certificate – thumbprint, certificate authority, validity – per identity at every connect,
//! including resumed sessions.

use std::io;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Maximum length of a client's certificate chain.
const MAX_CHAIN: usize = 8;
/// The shortest RSA key that ring verifies signatures with.
const MIN_RSA_BITS: usize = 2048;

/// Why the handshake refuses a client's certificate, beyond what `rustls` has an error for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the key of the client's certificate is of a kind that is not supported")]
    UnsupportedKey,
    #[error("the client's certificate chain is too long")]
    ChainTooLong,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

/// Why a client's certificate is refused in the handshake, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CertificateRefusal {
    /// A fixed word.
    pub(super) reason: &'static str,
    /// What is wrong.
    pub(super) error: &'static str,
    /// What to do.
    pub(super) remedy: &'static str,
}

/// Returns why a client's certificate is refused in the handshake, if `error` is for that.
pub(super) fn refusal(error: &io::Error) -> Option<CertificateRefusal> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let Error::InvalidCertificate(error) = error else { return None };
    let (reason, error, remedy) = match error {
        CertificateError::Other(other) => match other.0.downcast_ref::<Refusal>()? {
            Refusal::UnsupportedKey => (
                "certificate_key",
                "the key of the client's certificate is of a kind that this hub cannot verify (RSA below 2048 bits, \
                 P-521, DSA, Ed448)",
                "use P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits",
            ),
            Refusal::ChainTooLong => (
                "certificate_chain",
                "the client presents more than 8 certificates",
                "send the device's own certificate and those between it and its authority",
            ),
        },
        CertificateError::BadSignature => (
            "certificate_key",
            "the client does not have the private key of the certificate that it presents",
            "give the client the key that belongs to its certificate",
        ),
        CertificateError::BadEncoding => (
            "certificate_unreadable",
            "the client's certificate is not DER of an X.509 certificate",
            "make the certificate again",
        ),
        _ => return None,
    };
    Some(CertificateRefusal { reason, error, remedy })
}

#[derive(Debug)]
pub(super) struct OptionalClientAuth {
    provider: Arc<CryptoProvider>,
}

impl OptionalClientAuth {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }

    /// Verifies a TLS 1.2 signature with a bare key, as `verify_tls12_signature` does with a certificate. The scheme
    /// names the hash only: several algorithms may fit (RFC 5246, 7.4.1.4.1).
    fn verify_tls12(
        &self,
        message: &[u8],
        key: &SubjectPublicKeyInfoDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let (_, candidates) = algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signature.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let key = RawPublicKeyEntity::try_from(key).map_err(|_| CertificateError::BadEncoding)?;
        for algorithm in *candidates {
            match key.verify_signature(*algorithm, message, signature.signature()) {
                Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
                Err(_) => return Err(CertificateError::BadSignature.into()),
            }
        }
        Err(Refusal::UnsupportedKey.into())
    }
}

/// Calls `verify` with the public key of a certificate, and makes its errors more precise.
fn with_public_key(
    certificate: &[u8],
    verify: impl FnOnce(&SubjectPublicKeyInfoDer<'_>) -> Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    // Extensions are not parsed: a malformed one has nothing to do with the key.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let Ok(([], certificate)) = parser.parse(certificate) else {
        return Err(CertificateError::BadEncoding.into());
    };
    let key = &certificate.tbs_certificate.subject_pki;
    verify(&SubjectPublicKeyInfoDer::from(key.raw)).map_err(|error| match error {
        Error::InvalidCertificate(CertificateError::BadSignature) if is_short_rsa(key) => {
            Refusal::UnsupportedKey.into()
        }
        Error::InvalidCertificate(CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            ..
        }) => Refusal::UnsupportedKey.into(),
        error => error,
    })
}

fn is_short_rsa(key: &SubjectPublicKeyInfo<'_>) -> bool {
    matches!(key.parsed(), Ok(PublicKey::RSA(key)) if key.key_size() < MIN_RSA_BITS)
}

impl ClientCertVerifier for OptionalClientAuth {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(Refusal::ChainTooLong.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        with_public_key(certificate, |key| self.verify_tls12(message, key, signature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        with_public_key(certificate, |key| {
            verify_tls13_signature_with_raw_key(message, key, signature, algorithms)
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
