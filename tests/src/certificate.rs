//! Client certificates of every kind, valid and invalid.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SigningKey as _, date_time_ymd,
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

fn leaf(common_name: impl Into<DnValue>, validity: Validity) -> CertificateParams {
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

/// Issues a certificate for a server with the CA in `ca_folder` (`ca.pem`, `ca.key`), and writes it to `certificate` and
/// `private_key`. Returns it, DER.
#[must_use]
pub fn issue_for_server(ca_folder: &Path, host: &str, certificate: &Path, private_key: &Path) -> Vec<u8> {
    let read = |name: &str| fs::read_to_string(ca_folder.join(name)).expect("the CA of the hub");
    let ca_key = KeyPair::from_pem(&read("ca.key")).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    params.use_authority_key_identifier_extension = true;
    let issued = params.signed_by(&key, &issuer).expect("a certificate");
    fs::write(private_key, key.serialize_pem()).expect("a key file");
    fs::write(certificate, issued.pem()).expect("a certificate file");
    issued.der().to_vec()
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

/// Returns the tag, the whole element, its content and the rest of the first DER element.
fn element(der: &[u8]) -> (u8, &[u8], &[u8], &[u8]) {
    let (header, length) = match der[1] {
        short @ 0..128 => (2, usize::from(short)),
        long => {
            let bytes = usize::from(long & 127);
            (2 + bytes, der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    (der[0], &der[..header + length], &der[header..header + length], &der[header + length..])
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let byte = |length: usize| u8::try_from(length).expect("a length");
    let header = match content.len() {
        length @ 0..128 => vec![tag, byte(length)],
        length @ 128..256 => vec![tag, 0x81, byte(length)],
        length => vec![tag, 0x82, byte(length >> 8), byte(length & 0xff)],
    };
    [&header, content].concat()
}

/// Makes the same certificate as `openssl x509 -req` without `-extfile`: X.509 version 1, which has no extensions.
fn version_1(der: &[u8], issuer: &KeyPair) -> Vec<u8> {
    let (_, _, certificate, _) = element(der);
    let (_, _, mut fields, signature) = element(certificate);
    let mut kept = Vec::new();
    while !fields.is_empty() {
        let (tag, whole, _, rest) = element(fields);
        // Without the version [0] and the extensions [3].
        if tag != 0xa0 && tag != 0xa3 {
            kept.extend_from_slice(whole);
        }
        fields = rest;
    }
    let fields = wrap(0x30, &kept);
    let (_, algorithm, _, _) = element(signature);
    let bits = [&[0], &issuer.sign(&fields).expect("a signature")[..]].concat();
    wrap(0x30, &[&fields, algorithm, &wrap(3, &bits)].concat())
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let base64 = base64::prelude::BASE64_STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}

/// Kinds of certificates that tools make besides the usual one.
#[derive(Debug, Clone)]
pub enum Kind {
    /// X.509 version 1, without extensions.
    Version1,
    /// With an unknown critical extension.
    Critical,
    /// With this value as the common name.
    CommonName(DnValue),
}

/// Creates a self-signed certificate of this kind.
#[must_use]
pub fn self_signed_as(folder: &Path, common_name: &str, kind: Kind) -> CertificateFiles {
    let key = KeyPair::generate().expect("a key");
    let name = format!("self-signed-{common_name}");
    let der = leaf_of(common_name, &kind).self_signed(&key).expect("a certificate").der().to_vec();
    let der = if matches!(kind, Kind::Version1) { version_1(&der, &key) } else { der };
    write(folder, &name, &pem(&der), &key, &der)
}

fn leaf_of(common_name: &str, kind: &Kind) -> CertificateParams {
    match kind {
        Kind::Version1 => leaf(common_name, Validity::Valid),
        Kind::CommonName(value) => leaf(value.clone(), Validity::Valid),
        Kind::Critical => {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(true);
            let mut params = leaf(common_name, Validity::Valid);
            params.custom_extensions = vec![extension];
            params
        }
    }
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

    /// Creates an intermediate authority whose key usage does not include signing certificates.
    #[must_use]
    pub fn without_cert_sign(&self, name: &str) -> Self {
        let mut params = Self::params(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).expect("an intermediate");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Self { issuer, chain, name: name.to_owned() }
    }

    /// Creates a leaf of this kind, followed by the chain up to the root.
    #[must_use]
    pub fn sign_as(&self, folder: &Path, common_name: &str, kind: Kind) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let leaf = leaf_of(common_name, &kind).signed_by(&key, &self.issuer).expect("a certificate");
        let (der, name) = match kind {
            Kind::Version1 => (version_1(leaf.der(), self.issuer.key()), "version-1"),
            Kind::Critical => (leaf.der().to_vec(), "critical"),
            Kind::CommonName(_) => (leaf.der().to_vec(), "name"),
        };
        let name = format!("{}-{common_name}-{name}", self.name);
        write(folder, &name, &format!("{}{}", pem(&der), self.chain), &key, &der)
    }

    /// Returns the authority's certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
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
