//! Reads the server's certificate chain and key from their files, and checks whether clients will accept them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ferrohub_model::{Timestamp, pem};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey};
use webpki::EndEntityCert;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::private_ca::{CertificateFiles, PkiError};

/// A reason why some clients may refuse a certificate that the hub can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Concern {
    /// It is a CA certificate.
    IsAuthority,
    /// Its names do not cover the host name.
    OtherNames { host: String, names: String },
    /// It is outside its validity period.
    Validity { from: Timestamp, to: Timestamp },
    /// The file has certificates that do not belong to its chain.
    Unrelated(usize),
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsAuthority => f.write_str(
                "it is a CA certificate (basicConstraints CA:TRUE), which clients built on rustls (Ferrohub's own SDKs \
                 and command line among them) and Firefox refuse; make one with: openssl req -x509 … -addext \
                 basicConstraints=critical,CA:FALSE",
            ),
            Self::OtherNames { host, names } => write!(
                f,
                "its names ({names}) do not cover hostname {host}, so clients will refuse it; set hostname to one of \
                 them, or get a certificate for {host}"
            ),
            Self::Validity { from, to } => {
                write!(f, "it is expired or not yet valid: it is valid from {from} to {to}")
            }
            Self::Unrelated(count) => write!(
                f,
                "{count} of the certificates in the file are not part of the server's chain and are not sent"
            ),
        }
    }
}

/// Reads the chain and the key. With `host`, also checks the names.
pub(super) fn read(
    files: &CertificateFiles,
    host: Option<&str>,
) -> Result<(CertifiedKey, Vec<Concern>), PkiError> {
    let invalid = |reason: String| PkiError::Content { path: files.certificate.clone(), reason };
    let certificates =
        pem::certificates(&read_file(&files.certificate)?).map_err(|error| invalid(error.to_string()))?;
    let mut parsed = Vec::with_capacity(certificates.len());
    for (number, der) in (1..).zip(&certificates) {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => parsed.push(certificate),
            _ => return Err(invalid(format!("its certificate number {number} is not X.509"))),
        }
    }
    let key = read_key(&files.private_key)?;
    let public_key = key.public_key();
    let belongs = |certificate: &&X509Certificate<'_>| {
        public_key.as_ref().is_some_and(|key| key.as_ref() == certificate.public_key().raw)
    };
    let Some(leaf) = parsed.iter().find(belongs) else {
        return Err(PkiError::Content {
            path: files.private_key.clone(),
            reason: match parsed.len() {
                1 => format!("it is not the key of the certificate in {}", files.certificate.display()),
                count => format!(
                    "it is not the key of one of the {count} certificates in {}",
                    files.certificate.display()
                ),
            },
        });
    };
    let chain = in_order(leaf, &parsed);
    let mut concerns = check(leaf, host).map_err(invalid)?;
    if chain.len() < parsed.len() {
        concerns.push(Concern::Unrelated(parsed.len() - chain.len()));
    }
    let chain = chain
        .iter()
        .filter_map(|link| parsed.iter().position(|certificate| std::ptr::eq(certificate, *link)))
        .filter_map(|index| certificates.get(index).map(|der| CertificateDer::from(der.clone())))
        .collect();
    Ok((CertifiedKey::new(chain, key), concerns))
}

fn read_file(path: &Path) -> Result<Vec<u8>, PkiError> {
    fs::read(path).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

fn read_key(path: &Path) -> Result<Arc<dyn SigningKey>, PkiError> {
    let invalid = |reason: String| PkiError::Content { path: path.to_owned(), reason };
    let der = pem::private_key(&read_file(path)?).map_err(|error| invalid(error.to_string()))?;
    let key = PrivateKeyDer::try_from(der)
        .map_err(|_| invalid("it is not a key in PKCS#8, PKCS#1 or SEC1 form".to_owned()))?;
    any_supported_type(&key).map_err(|_| {
        invalid(
            "the key is of a kind that TLS cannot use here; use RSA of 2048 bits, P-256 or P-384".to_owned(),
        )
    })
}

/// Returns the leaf and the certificates that lead upwards from it. Clients expect them in this order; the file may have
/// another one.
fn in_order<'c, 'a>(
    leaf: &'c X509Certificate<'a>,
    all: &'c [X509Certificate<'a>],
) -> Vec<&'c X509Certificate<'a>> {
    let mut chain = vec![leaf];
    let mut last = leaf;
    while last.issuer().as_raw() != last.subject().as_raw() {
        let is_next = |next: &&X509Certificate<'_>| {
            next.subject().as_raw() == last.issuer().as_raw()
                && chain.iter().all(|earlier| !std::ptr::eq(*earlier, *next))
        };
        let Some(next) = all.iter().find(is_next) else { break };
        chain.push(next);
        last = next;
    }
    chain
}

/// Checks what clients will look at.
#[expect(clippy::disallowed_methods, reason = "the program has no hub yet")]
fn check(leaf: &X509Certificate<'_>, host: Option<&str>) -> Result<Vec<Concern>, String> {
    let mut concerns = Vec::new();
    let der = CertificateDer::from(leaf.as_raw());
    let end_entity = match EndEntityCert::try_from(&der) {
        Ok(end_entity) => end_entity,
        Err(webpki::Error::UnsupportedCertVersion) => {
            return Err("it is an X.509 version 1 certificate without names, which clients refuse; issue it as version \
                        3 with subjectAltName"
                .to_owned());
        }
        Err(error) => return Err(format!("clients cannot read the server's certificate: {error:?}")),
    };
    if leaf.is_ca() {
        concerns.push(Concern::IsAuthority);
    }
    let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if !(from..=to).contains(&i64::try_from(since.as_secs()).unwrap_or(i64::MAX)) {
        let (from, to) = (Timestamp::from_unix_seconds(from), Timestamp::from_unix_seconds(to));
        concerns.push(Concern::Validity { from, to });
    }
    if let Some(host) = host {
        let covered = ServerName::try_from(host)
            .is_ok_and(|name| end_entity.verify_is_valid_for_subject_name(&name).is_ok());
        if !covered {
            concerns.push(Concern::OtherNames { host: host.to_owned(), names: names(leaf) });
        }
    }
    Ok(concerns)
}

/// Returns the names of a certificate for a message. Only subjectAltName counts: clients ignore the common name.
fn names(certificate: &X509Certificate<'_>) -> String {
    /// Certificates of content networks have hundreds.
    const MAX_SHOWN: usize = 10;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.escape_debug().to_string()),
            GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
                .map(|bytes| std::net::IpAddr::from(bytes).to_string())
                .or_else(|_| {
                    <[u8; 16]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string())
                })
                .ok(),
            _ => None,
        })
        .take(MAX_SHOWN)
        .collect();
    if names.is_empty() { "none: it has no subjectAltName".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn read(
            &self,
            certificate: &[u8],
            key: &str,
            host: Option<&str>,
        ) -> Result<(CertifiedKey, Vec<Concern>), String> {
            let files = CertificateFiles {
                certificate: self.0.path().join("server.pem"),
                private_key: self.0.path().join("server.key"),
            };
            fs::write(&files.certificate, certificate).unwrap();
            fs::write(&files.private_key, key).unwrap();
            read(&files, host).map_err(|error| error.to_string())
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = false;
        params
    }

    fn ca_params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn key() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    #[test]
    fn the_chain_is_sent_in_order_whatever_the_order_in_the_file() {
        let folder = Folder::new();
        let root = CertifiedIssuer::self_signed(ca_params("Root"), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(ca_params("Middle"), key(), &root).unwrap();
        let unrelated = CertifiedIssuer::self_signed(ca_params("Unrelated"), key()).unwrap();
        let own = key();
        let leaf = params("hub.example").signed_by(&own, &middle).unwrap();
        let pem = own.serialize_pem();
        let expected = [leaf.der().clone(), middle.der().clone(), root.der().clone()];
        for file in [
            [leaf.pem(), middle.pem(), root.pem()].concat(),
            [root.pem(), middle.pem(), leaf.pem()].concat(),
            format!("\u{feff}{}{pem}{}{}", middle.pem(), root.pem(), leaf.pem()),
        ] {
            let (certified, concerns) = folder.read(file.as_bytes(), &pem, Some("hub.example")).unwrap();
            assert_eq!(certified.cert, expected);
            assert_eq!(concerns, []);
        }
        let file = [unrelated.pem(), leaf.pem()].concat();
        let (certified, concerns) = folder.read(file.as_bytes(), &pem, None).unwrap();
        assert_eq!(certified.cert, expected[..1]);
        assert_eq!(concerns, [Concern::Unrelated(1)]);
        let (certified, _) = folder.read(leaf.der(), &pem, None).unwrap();
        assert_eq!(certified.cert, expected[..1], "DER");
    }

    #[test]
    fn what_clients_will_refuse_is_named() {
        let folder = Folder::new();
        let own = key();
        let concerns = |params: CertificateParams, host: &str| {
            let certificate = params.self_signed(&own).unwrap();
            folder.read(certificate.pem().as_bytes(), &own.serialize_pem(), Some(host)).unwrap().1
        };
        assert_eq!(concerns(params("hub.example"), "HUB.example"), []);
        assert_eq!(concerns(params("*.fleet.example"), "hub.fleet.example"), []);
        assert_eq!(concerns(params("127.0.0.1"), "127.0.0.1"), []);
        let mut authority = params("hub.example");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert_eq!(concerns(authority, "hub.example"), [Concern::IsAuthority]);
        for (name, host, names) in [
            ("other.example", "hub.example", "other.example"),
            ("*.fleet.example", "a.hub.fleet.example", "*.fleet.example"),
            ("127.0.0.1", "127.0.0.2", "127.0.0.1"),
        ] {
            let expected = Concern::OtherNames { host: host.into(), names: names.into() };
            assert_eq!(concerns(params(name), host), [expected]);
        }
        let mut common_name = CertificateParams::default();
        common_name.distinguished_name.push(DnType::CommonName, "hub.example");
        let [Concern::OtherNames { names, .. }] = &concerns(common_name, "hub.example")[..] else { panic!() };
        assert!(names.starts_with("none"), "{names}");
        let mut expired = params("hub.example");
        expired.not_before = date_time_ymd(2000, 1, 1);
        expired.not_after = date_time_ymd(2001, 1, 1);
        assert!(matches!(concerns(expired, "hub.example")[..], [Concern::Validity { .. }]));
    }

    #[test]
    fn a_wrong_file_is_named_with_its_path() {
        let folder = Folder::new();
        let (own, other) = (key(), key());
        let certificate = params("hub.example").self_signed(&own).unwrap();
        let (pem, key_pem) = (certificate.pem(), own.serialize_pem());
        let error = |certificate: &[u8], key: &str| folder.read(certificate, key, None).err().unwrap();
        for (certificate, key, path, reason) in [
            (pem.as_str(), other.serialize_pem(), "server.key: ", "it is not the key of the certificate in "),
            (pem.as_str(), pem.clone(), "server.key: ", "it is a certificate, not a private key"),
            (pem.as_str(), String::new(), "server.key: ", "it is empty"),
            (key_pem.as_str(), key_pem.clone(), "server.pem: ", "it is a private key, not a certificate"),
            ("", key_pem.clone(), "server.pem: ", "it is empty"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                key_pem.clone(),
                "server.pem: ",
                "its certificate number 1 is not X.509",
            ),
        ] {
            let error = error(certificate.as_bytes(), &key);
            assert!(error.contains(path) && error.contains(reason), "{error}");
            assert!(!error.contains("BEGIN"), "{error}");
        }
        let two = format!("{pem}{}", params("other.example").self_signed(&key()).unwrap().pem());
        assert!(error(two.as_bytes(), &other.serialize_pem()).contains("one of the 2 certificates"));
        // Made with: openssl x509 -req, without -extfile. The certificate is at fault, not the key.
        let version_1 = include_bytes!("version1.pem");
        let error = error(version_1, include_str!("version1.key"));
        assert!(error.contains("server.pem: it is an X.509 version 1 certificate"), "{error}");
    }
}
