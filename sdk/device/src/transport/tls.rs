//! TLS: whom the device trusts, and with which certificate it proves itself.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, ErrorKind};

/// Whose certificates are believed.
pub(crate) enum RootCertificates {
    /// What the system trusts, or the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    System,
    /// These authorities and no others.
    Pem(Vec<u8>),
}

/// The device's own certificate, with those between it and its authority, and its private key.
pub(crate) struct ClientCertificate {
    pub(crate) certificates: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) fn client_config(
    roots: &Arc<RootCertStore>,
    identity: Option<&ClientCertificate>,
    http: bool,
) -> Result<ClientConfig, Error> {
    // The provider is named: a process-wide default belongs to the application.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Error::caused(ErrorKind::Tls, "TLS cannot be set up", error))?
        .with_root_certificates(roots.clone());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificates = parse_certificates(&identity.certificates, "the device certificate")?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|error| {
                Error::caused(
                    ErrorKind::InvalidInput,
                    "the private key is not PEM of an unencrypted key",
                    error,
                )
            })?;
            builder.with_client_auth_cert(certificates, key).map_err(|error| {
                Error::caused(
                    ErrorKind::InvalidInput,
                    "the private key and the certificate do not go together",
                    error,
                )
            })?
        }
    };
    if http {
        // Also how a WebSocket begins; without a word a server may choose HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(config)
}

pub(crate) fn root_store(roots: &RootCertificates) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        RootCertificates::Pem(pem) => {
            for certificate in parse_certificates(pem, "the authority's certificate")? {
                store.add(certificate).map_err(|error| {
                    Error::caused(
                        ErrorKind::InvalidInput,
                        "the authority's certificate cannot be used",
                        error,
                    )
                })?;
            }
        }
        RootCertificates::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some trusted certificates cannot be read");
            }
            // System stores hold certificates that TLS cannot use; one of them is no reason to trust nobody.
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let message = "no trusted certificates were found: set SSL_CERT_FILE, or give the authority with root_certificates_only";
                return Err(match found.errors.into_iter().next() {
                    Some(error) => Error::caused(ErrorKind::Tls, message, error),
                    None => Error::new(ErrorKind::Tls, message),
                });
            }
        }
    }
    Ok(Arc::new(store))
}

fn parse_certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates
        .map_err(|error| Error::caused(ErrorKind::InvalidInput, format!("{what} is not PEM"), error))?;
    if certificates.is_empty() {
        return Err(Error::invalid_input(format!("{what} is not PEM of a certificate")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused() {
        let config = |roots: &[u8], identity: Option<(&str, &str)>| {
            let identity = identity.map(|(certificates, key)| ClientCertificate {
                certificates: certificates.into(),
                key: key.into(),
            });
            client_config(&root_store(&RootCertificates::Pem(roots.to_vec()))?, identity.as_ref(), false)
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
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        assert!(config(pem.as_bytes(), Some((&pem, &key))).is_ok());
    }
}
