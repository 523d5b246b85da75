//! TLS: whom the device trusts, and with which certificate it proves itself.

use std::sync::Arc;

use ferrohub_model::pem;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, ErrorKind};

/// Whose certificates are believed.
pub(crate) enum Roots {
    /// What the system trusts, or the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    System,
    /// These authorities and no others.
    Pem(Vec<u8>),
}

/// The device's own certificate, with those between it and its authority, and its private key.
pub(crate) struct Identity {
    pub(crate) certificates: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) fn client_config(
    roots: &Arc<RootCertStore>,
    identity: Option<&Identity>,
    http: bool,
) -> Result<ClientConfig, Error> {
    // The provider is named: a process-wide default belongs to the application.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Error::caused(ErrorKind::Tls, "TLS cannot be set up", error))?
        .with_root_certificates(roots.clone());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificates = certificates(&identity.certificates, "the device certificate")?;
            let unusable =
                |message, error: rustls::Error| Error::caused(ErrorKind::InvalidArgument, message, error);
            let key = pem::private_key(&identity.key).map_err(|error| {
                Error::caused(ErrorKind::InvalidArgument, "the private key cannot be read", error)
            })?;
            let key = PrivateKeyDer::try_from(key)
                .map_err(|_| Error::invalid("the private key is not in PKCS#8, PKCS#1 or SEC1 form"))?;
            let key = provider
                .key_provider
                .load_private_key(key)
                .map_err(|error| unusable("the private key cannot be used", error))?;
            let own = CertifiedKey::new(certificates, key);
            if let Err(error @ rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) =
                own.keys_match()
            {
                return Err(unusable("the private key and the certificate do not go together", error));
            }
            // rustls cannot read every certificate that a hub accepts (version 1, unknown critical extensions), so its
            // other errors do not count: the hub decides.
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
        }
    };
    if http {
        // Also how a WebSocket begins; without a word a server may choose HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(config)
}

pub(crate) fn root_store(roots: &Roots) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Pem(pem) => {
            for certificate in certificates(pem, "the authority's certificate")? {
                store.add(certificate).map_err(|error| {
                    Error::caused(
                        ErrorKind::InvalidArgument,
                        "the authority's certificate cannot be used",
                        error,
                    )
                })?;
            }
        }
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some trusted certificates cannot be read");
            }
            // System stores hold certificates that TLS cannot use; one of them is no reason to trust nobody.
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let message = "no trusted certificates were found: set SSL_CERT_FILE, or give the authority with ca_pem";
                return Err(match found.errors.into_iter().next() {
                    Some(error) => Error::caused(ErrorKind::Tls, message, error),
                    None => Error::new(ErrorKind::Tls, message),
                });
            }
        }
    }
    Ok(Arc::new(store))
}

fn certificates(bytes: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = pem::certificates(bytes).map_err(|error| {
        Error::caused(ErrorKind::InvalidArgument, format!("{what} cannot be read"), error)
    })?;
    Ok(certificates.into_iter().map(CertificateDer::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused() {
        let config = |roots: &[u8], identity: Option<(&str, &str)>| {
            let identity = identity
                .map(|(certificates, key)| Identity { certificates: certificates.into(), key: key.into() });
            client_config(&root_store(&Roots::Pem(roots.to_vec()))?, identity.as_ref(), false)
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
            let error = config(roots.as_bytes(), identity).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
        assert!(config(pem.as_bytes(), Some((&pem, &key))).is_ok());
        // Made with: openssl x509 -req, without -extfile. The hub decides whether it accepts X.509 version 1.
        let version_1 = (include_str!("tls/version1.pem"), include_str!("tls/version1.key"));
        assert!(config(pem.as_bytes(), Some(version_1)).is_ok());
    }
}
