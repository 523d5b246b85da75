//! The server certificate, which can be replaced while the listeners run.

mod files;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use tracing::warn;

use super::client_certificates::OptionalClientAuth;
use super::private_ca::{CertificateFiles, PkiError};
use files::Concern;

/// The server certificate in use.
pub struct ServerCertificate {
    files: CertificateFiles,
    host: Option<RequiredHost>,
    key: RwLock<Arc<CertifiedKey>>,
}

/// The host name that the certificate must be for.
#[derive(Debug, Clone)]
pub struct RequiredHost {
    /// The host name of the hub.
    pub name: String,
    /// Whether a certificate for other names is accepted with a warning.
    pub allow_other_names: bool,
}

impl ServerCertificate {
    /// Reads the chain and the key, and checks that they match and, with `host`, that they are for it. Logs a warning
    /// about a certificate that some clients will refuse.
    pub fn load(files: CertificateFiles, host: Option<RequiredHost>) -> Result<Self, PkiError> {
        let key = RwLock::new(Arc::new(read(&files, host.as_ref())?));
        Ok(Self { files, host, key })
    }

    /// Reads the files again. New handshakes use the new content. After an error the previous certificate stays in use.
    /// Returns whether the certificate is another one now.
    pub fn reload(&self) -> Result<bool, PkiError> {
        let new = Arc::new(read(&self.files, self.host.as_ref())?);
        let mut key = self.key.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = key.cert != new.cert;
        *key = new;
        Ok(is_other)
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

fn read(files: &CertificateFiles, host: Option<&RequiredHost>) -> Result<CertifiedKey, PkiError> {
    let (key, concerns) = files::read(files, host.map(|host| host.name.as_str()))?;
    for concern in concerns {
        if matches!(concern, Concern::OtherNames { .. }) && host.is_some_and(|host| !host.allow_other_names) {
            return Err(PkiError::Content {
                path: files.certificate.clone(),
                reason: format!(
                    "{concern}, or set tls.allow_other_names = true if clients connect through a proxy that ends TLS"
                ),
            });
        }
        warn!(file = %files.certificate.display(), error = %concern, "clients may refuse the server's certificate");
    }
    Ok(key)
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
