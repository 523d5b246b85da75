//! A private CA and a server certificate that it issues, for hubs without a configured certificate.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// Validity of the CA certificate.
const CA_VALIDITY: Duration = Duration::days(3650);
/// Validity of a server certificate.
const SERVER_VALIDITY: Duration = Duration::days(397);
/// A server certificate is renewed this long before its expiry.
const RENEW_BEFORE: Duration = Duration::days(60);
/// Certificates are valid from this long before their creation, because the clocks of devices differ.
const BACKDATE: Duration = Duration::days(1);

/// A certificate cannot be issued, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The content of a file is not valid.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A certificate cannot be issued.
    #[error("cannot issue a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// TLS cannot be set up with the key and the certificate.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The files with the server's certificate chain and private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM file with the certificate chain: the server certificate first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub private_key: PathBuf,
}

/// The private CA in a folder. Only `ca.pem` may be copied from there; the other files are secret.
#[derive(Debug, Clone)]
pub struct PrivateCa {
    folder: PathBuf,
    names: Vec<String>,
}

impl PrivateCa {
    /// Describes a CA in `folder` that issues a server certificate for `names`: host names and IP addresses.
    #[must_use]
    pub fn new(folder: &Path, names: Vec<String>) -> Self {
        Self { folder: folder.to_owned(), names }
    }

    /// Returns the path of the CA certificate, which clients must trust.
    #[must_use]
    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Creates missing files, and issues a new server certificate if the old one is about to expire or is for other
    /// names.
    pub fn ensure(&self, now: SystemTime) -> Result<CertificateFiles, PkiError> {
        let now = OffsetDateTime::from(now);
        let file = |source| PkiError::File { path: self.folder.clone(), source };
        fs::create_dir_all(&self.folder).map_err(file)?;
        let (ca_path, ca_key_path) = (self.certificate_path(), self.folder.join("ca.key"));
        if !ca_path.exists() || !ca_key_path.exists() {
            let key = KeyPair::generate()?;
            let ca = ca_params(now).self_signed(&key)?;
            write_private(&ca_key_path, &key.serialize_pem())?;
            write_private(&ca_path, &ca.pem())?;
        }
        let files = CertificateFiles {
            certificate: self.folder.join("server.pem"),
            private_key: self.folder.join("server.key"),
        };
        if !self.is_current(&files, now) {
            let issuer_key = KeyPair::from_pem(&read(&ca_key_path)?)?;
            let issuer = Issuer::from_ca_cert_pem(&read(&ca_path)?, issuer_key)?;
            let key = KeyPair::generate()?;
            let certificate = self.server_params(now)?.signed_by(&key, &issuer)?;
            // Write the key first: without its key a certificate is unusable, but a key without a certificate is
            // replaced at the next start.
            write_private(&files.private_key, &key.serialize_pem())?;
            write_private(&files.certificate, &certificate.pem())?;
            write_private(&self.folder.join("server.names"), &self.names.join("\n"))?;
        }
        Ok(files)
    }

    fn is_current(&self, files: &CertificateFiles, now: OffsetDateTime) -> bool {
        let names = fs::read_to_string(self.folder.join("server.names"));
        let Ok(pem) = fs::read(&files.certificate) else { return false };
        let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&pem) else { return false };
        let Ok(certificate) = pem.parse_x509() else { return false };
        let left = certificate.validity().not_after.timestamp() - now.unix_timestamp();
        files.private_key.exists()
            && names.is_ok_and(|names| names == self.names.join("\n"))
            && left > RENEW_BEFORE.whole_seconds()
    }

    fn server_params(&self, now: OffsetDateTime) -> Result<CertificateParams, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(self.names.first().map_or("ferrohub", String::as_str));
        for name in &self.names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - BACKDATE;
        params.not_after = now + SERVER_VALIDITY;
        Ok(params)
    }
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn ca_params(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&format!("Ferrohub private CA {}", now.unix_timestamp()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - BACKDATE;
    params.not_after = now + CA_VALIDITY;
    params
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

/// Writes a file with mode 0600, atomically: readers see either the old or the new content.
fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let partial = path.with_extension("new");
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| PkiError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the validity of a new certificate")]
    fn a_certificate_is_kept_until_it_is_about_to_expire_or_the_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let ca = PrivateCa::new(folder.path(), names(&["hub.example", "127.0.0.1", "::1"]));
        let now = SystemTime::now();
        let day = std::time::Duration::from_secs(86_400);
        let certificate = |time| fs::read(ca.ensure(time).unwrap().certificate).unwrap();
        let first = certificate(now);
        assert_eq!(certificate(now + 300 * day), first);
        let renewed = certificate(now + 340 * day);
        assert_ne!(renewed, first);
        let ca_certificate = fs::read(ca.certificate_path()).unwrap();
        let other = PrivateCa::new(folder.path(), names(&["other.example"]));
        assert_ne!(fs::read(other.ensure(now).unwrap().certificate).unwrap(), renewed);
        assert_eq!(fs::read(ca.certificate_path()).unwrap(), ca_certificate);
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
    }
}
