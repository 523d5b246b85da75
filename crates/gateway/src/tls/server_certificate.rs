//! The server certificate, which can be replaced while the listeners run.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring::{Ticketer, default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};

use super::client_certificates::OptionalClientAuth;
use super::private_ca::{CertificateFiles, PkiError};

/// The server certificate in use.
pub struct ServerCertificate {
    files: CertificateFiles,
    key: RwLock<Arc<CertifiedKey>>,
}

impl ServerCertificate {
    /// Reads the chain and the key, and checks that they match.
    pub fn load(files: CertificateFiles) -> Result<Self, PkiError> {
        let key = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { files, key })
    }

    /// Reads the files again. New handshakes use the new content. After an error the previous certificate stays in use.
    pub fn reload(&self) -> Result<(), PkiError> {
        let key = Arc::new(read(&self.files)?);
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// Returns when the certificate in use expires, in Unix time. `None` if it cannot be parsed.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (_, certificate) = x509_parser::parse_x509_certificate(key.cert.first()?).ok()?;
        Some(certificate.validity().not_after.timestamp())
    }

    /// Returns the files of the certificate.
    #[must_use]
    pub fn files(&self) -> &CertificateFiles {
        &self.files
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn read(files: &CertificateFiles) -> Result<CertifiedKey, PkiError> {
    let content = |path: &std::path::Path, reason: &dyn fmt::Display| PkiError::Content {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| content(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(content(&files.certificate, &"the file contains no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|error| content(&files.private_key, &error))?;
    let key = any_supported_type(&key).map_err(|error| content(&files.private_key, &error))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => {
            let reason = format!("the private key does not match the certificate: {error}");
            Err(content(&files.private_key, &reason))
        }
    }
}

/// Builds the TLS configuration: TLS 1.2 and 1.3, optional client certificates, session resumption with tickets. `alpn`
/// is in order of preference.
pub fn server_config(certificate: Arc<ServerCertificate>, alpn: &[&[u8]]) -> Result<ServerConfig, PkiError> {
    let mut provider = default_provider();
    // All suites are secure. Prefer the one whose hash (SHA-256) the processor accelerates: with SHA-384 hashing takes
    // a fifth of the handshake.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(OptionalClientAuth::new(provider)))
        .with_cert_resolver(certificate);
    config.ignore_client_order = true;
    config.ticketer = Ticketer::new()?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}
