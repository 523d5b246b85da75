//! Client certificates of every kind, valid and invalid.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use ring::digest;

/// A certificate and its private key as files, in the form that the device client needs.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// PEM: the leaf, followed by the intermediate certificates.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    der: Vec<u8>,
}

impl CertificateFiles {
    /// Returns the SHA-1 of the leaf in upper-case hex, the most common thumbprint.
    #[must_use]
    pub fn sha1(&self) -> String {
        self.thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY)
    }

    /// Returns the SHA-256 of the leaf in upper-case hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        self.thumbprint(&digest::SHA256)
    }

    fn thumbprint(&self, algorithm: &'static digest::Algorithm) -> String {
        let mut hex = String::new();
        for byte in digest::digest(algorithm, &self.der).as_ref() {
            let _ = write!(hex, "{byte:02X}");
        }
        hex
    }
}

/// The validity period of a certificate, relative to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Valid now.
    Valid,
    /// Expired.
    Expired,
    /// Valid in the future.
    NotYetValid,
}

fn leaf(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let (from, until) = match validity {
        Validity::Valid => (2020, 2090),
        Validity::Expired => (2020, 2021),
        Validity::NotYetValid => (2089, 2090),
    };
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn write(folder: &Path, name: &str, chain: &str, key: &KeyPair, der: &[u8]) -> CertificateFiles {
    let files = CertificateFiles {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
        der: der.to_vec(),
    };
    fs::write(&files.certificate, chain).expect("a certificate file");
    fs::write(&files.key, key.serialize_pem()).expect("a key file");
    files
}

/// Creates a self-signed certificate with this common name.
#[must_use]
pub fn self_signed(folder: &Path, common_name: &str, validity: Validity) -> CertificateFiles {
    let key = KeyPair::generate().expect("a key");
    let params = leaf(common_name, validity);
    let certificate = params.self_signed(&key).expect("a certificate");
    let name = format!("self-signed-{common_name}");
    write(folder, &name, &certificate.pem(), &key, certificate.der())
}

/// A root or intermediate certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// PEM of the certificates between a leaf and the root, including this one; empty for a root.
    chain: String,
    name: String,
}

impl Authority {
    /// Creates a root with this name.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(Self::params(name), key).expect("a root");
        Self { issuer, chain: String::new(), name: name.to_owned() }
    }

    /// Creates an intermediate authority that this one signed.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::signed_by(Self::params(name), key, &self.issuer);
        let issuer = issuer.expect("an intermediate");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Self { issuer, chain, name: name.to_owned() }
    }

    /// Creates an issuer without the right to sign: an ordinary leaf certificate used as an authority.
    #[must_use]
    pub fn non_ca_issuer(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = leaf(name, Validity::Valid);
        let issuer =
            CertifiedIssuer::signed_by(params, key, &self.issuer).expect("a certificate without CA rights");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Self { issuer, chain, name: name.to_owned() }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        params
    }

    /// Creates a leaf with this common name, followed by the chain up to the root.
    #[must_use]
    pub fn sign(&self, folder: &Path, common_name: &str, validity: Validity) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let params = leaf(common_name, validity);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let chain = format!("{}{}", certificate.pem(), self.chain);
        let name = format!("{}-{common_name}", self.name);
        write(folder, &name, &chain, &key, certificate.der())
    }

    /// Writes the authority's certificate to a file, for the hub's configuration.
    #[must_use]
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.pem", self.name));
        fs::write(&path, self.issuer.pem()).expect("a certificate file");
        path
    }
}
