//! TLS: the trusted certificate authorities, and the client certificate of the device.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use ferrohub_model::pem;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, ErrorKind};

/// The trusted certificate authorities.
#[derive(Debug)]
pub(crate) struct RootCertificates {
    /// Whether those of the system are trusted, or of the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    pub(crate) system: bool,
    /// PEM texts with further ones.
    pub(crate) pem: Vec<Vec<u8>>,
}

impl Default for RootCertificates {
    fn default() -> Self {
        Self { system: true, pem: Vec::new() }
    }
}

/// The certificate chain and the private key of the device.
pub(crate) struct ClientCertificate {
    pub(crate) certificates: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) fn client_config(
    roots: &Arc<RootCertStore>,
    identity: Option<&ClientCertificate>,
    http: bool,
) -> Result<ClientConfig, Error> {
    // Set explicitly: the process-wide default belongs to the application.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS is not available").with_source(error))?
        .with_root_certificates(roots.clone());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificates = parse_certificates(&identity.certificates, "the device certificate")?;
            let key = pem::private_key(&identity.key).map_err(|error| {
                Error::invalid_input(format!("the private key cannot be read: {error}")).with_source(error)
            })?;
            let key = PrivateKeyDer::try_from(key)
                .map_err(|_| Error::invalid_input("the private key is not in PKCS#8, PKCS#1 or SEC1 form"))?;
            let key = provider
                .key_provider
                .load_private_key(key)
                .map_err(|error| Error::invalid_input("the private key cannot be used").with_source(error))?;
            let own = CertifiedKey::new(certificates, key);
            if let Err(error @ rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) =
                own.keys_match()
            {
                return Err(Error::invalid_input(
                    "the private key does not belong to the device certificate",
                )
                .with_source(error));
            }
            // rustls cannot read every certificate that a hub accepts (version 1, unknown critical extensions), so its
            // other errors do not count: the hub decides.
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
        }
    };
    if http {
        // A WebSocket handshake is HTTP/1.1, too; without ALPN a server may choose HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(config)
}

pub(crate) fn root_store(roots: &RootCertificates) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for text in &roots.pem {
        for certificate in parse_certificates(text, "the root certificate")? {
            store.add(certificate).map_err(|error| {
                Error::invalid_input("the root certificate cannot be used").with_source(error)
            })?;
        }
    }
    if roots.system {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's certificates cannot be read");
        }
        // System stores contain certificates that TLS cannot use; these are skipped.
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let message = "the system has no trusted certificates; set SSL_CERT_FILE, or give the certificate authority \
                           with root_certificates_only";
            let error = Error::new(ErrorKind::Tls, message);
            return Err(match found.errors.into_iter().next() {
                Some(source) => error.with_source(source),
                None => error,
            });
        }
    }
    Ok(Arc::new(store))
}

fn parse_certificates(bytes: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = pem::certificates(bytes).map_err(|error| {
        Error::invalid_input(format!("{what} cannot be read: {error}")).with_source(error)
    })?;
    Ok(certificates.into_iter().map(CertificateDer::from).collect())
}

/// Returns whether an error comes from TLS, at any depth of its sources.
pub(crate) fn is_tls_error(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // The source of an I/O error is the source of its inner error, not that error itself.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(pem: &str) -> RootCertificates {
        RootCertificates { system: false, pem: vec![pem.as_bytes().to_vec()] }
    }

    #[test]
    fn invalid_certificates_and_keys_are_refused() {
        let config = |roots: &str, identity: Option<(&str, &str)>| {
            let identity = identity.map(|(certificates, key)| ClientCertificate {
                certificates: certificates.into(),
                key: key.into(),
            });
            client_config(&root_store(&only(roots))?, identity.as_ref(), false)
        };
        let own = rcgen::generate_simple_self_signed(["d1".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["d2".to_owned()]).unwrap();
        let (pem, key, other_key) =
            (own.cert.pem(), own.signing_key.serialize_pem(), other.signing_key.serialize_pem());
        for (roots, identity) in [
            ("/path/ca.pem", None),
            (pem.as_str(), Some(("", key.as_str()))),
            (pem.as_str(), Some((pem.as_str(), "key"))),
            (pem.as_str(), Some((pem.as_str(), other_key.as_str()))),
        ] {
            let error = config(roots, identity).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        assert!(config(&pem, Some((&pem, &key))).is_ok());
        // Made with: openssl x509 -req, without -extfile. The hub decides whether it accepts X.509 version 1.
        let version_1 = (include_str!("tls/version1.pem"), include_str!("tls/version1.key"));
        assert!(config(&pem, Some(version_1)).is_ok());
    }

    #[test]
    fn root_certificates_replace_or_extend_those_of_the_system() {
        let pem = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        let (first, second) = (pem("first"), pem("second"));
        let pem = vec![first.clone().into_bytes(), second.into_bytes()];
        let replaced = root_store(&RootCertificates { system: false, pem: pem.clone() }).unwrap();
        assert_eq!(replaced.len(), 2);
        let system = rustls_native_certs::load_native_certs().certs.len();
        let extended = root_store(&RootCertificates { system: true, pem }).unwrap();
        assert!((2..=2 + system).contains(&extended.len()) && (system == 0 || extended.len() > 2));
        let mut invalid = only(&first);
        invalid.pem.push(b"/path/ca.pem".to_vec());
        assert_eq!(root_store(&invalid).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_tls_error_is_found_inside_io_errors() {
        let tls = || rustls::Error::General("bad".to_owned());
        assert!(is_tls_error(&tls()));
        assert!(is_tls_error(&io::Error::other(io::Error::other(tls()))));
        assert!(!is_tls_error(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }
}
