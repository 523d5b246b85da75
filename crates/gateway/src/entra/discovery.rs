//! Fetches the keys of an issuer with OpenID Connect discovery:
//! `{issuer}/.well-known/openid-configuration` contains the URL of the keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::auth::{KeySet, KeySource, KeySourceError};
use ferrohub_model::pem::{self, PemError};
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

/// Maximum size of a document in bytes; usual documents have a few KiB.
const MAX_DOCUMENT: usize = 256 * 1024;
/// Time-out for both documents together.
const TIMEOUT: Duration = Duration::from_secs(10);

type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Discovery cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The file of the certificate authority contains no certificate.
    #[error(transparent)]
    Certificate(#[from] PemError),
    /// TLS cannot be set up with the certificates.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Fetches the keys of issuers over HTTPS.
pub struct OidcDiscovery {
    default_client: HttpsClient,
    /// Clients for issuers with a separate certificate authority.
    issuer_clients: HashMap<String, HttpsClient>,
}

/// The fields of the document that are used.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl OidcDiscovery {
    /// Creates a discovery that trusts the system's certificate authorities.
    pub fn new() -> Result<Self, DiscoveryError> {
        Ok(Self { default_client: client(None)?, issuer_clients: HashMap::new() })
    }

    /// Trusts the certificate authorities in this PEM text for one issuer, instead of the system's.
    pub fn add_issuer_ca(&mut self, issuer: &str, pem: &[u8]) -> Result<(), DiscoveryError> {
        self.issuer_clients.insert(issuer.to_owned(), client(Some(pem))?);
        Ok(())
    }
}

#[async_trait]
impl KeySource for OidcDiscovery {
    async fn keys(&self, issuer: &str) -> Result<KeySet, KeySourceError> {
        let client = self.issuer_clients.get(issuer).unwrap_or(&self.default_client);
        let discover = async {
            let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            let document = get(client, &url).await?;
            let configuration: Configuration = serde_json::from_slice(&document)
                .map_err(|error| KeySourceError(format!("{url}: {error}")))?;
            if configuration.issuer != issuer {
                return Err(KeySourceError(format!("{url} names another issuer")));
            }
            let keys = get(client, &configuration.jwks_uri).await?;
            KeySet::from_json(&keys)
                .map_err(|error| KeySourceError(format!("{}: {error}", configuration.jwks_uri)))
        };
        tokio::time::timeout(TIMEOUT, discover)
            .await
            .unwrap_or_else(|_| Err(KeySourceError(format!("{issuer} did not respond within the time-out"))))
    }
}

fn client(pem: Option<&[u8]>) -> Result<HttpsClient, DiscoveryError> {
    let mut roots = RootCertStore::empty();
    match pem {
        Some(pem) => {
            for certificate in pem::certificates(pem)? {
                roots.add(certificate.into())?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Fetches a document. Redirects are not followed: only the issuer itself is trusted.
async fn get(client: &HttpsClient, url: &str) -> Result<Bytes, KeySourceError> {
    let failed = |error: &dyn fmt::Display| KeySourceError(format!("{url}: {error}"));
    let uri: Uri = url.parse().map_err(|error| failed(&error))?;
    let response = client.get(uri).await.map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        return Err(failed(&response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| failed(&error))
}

impl fmt::Debug for OidcDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcDiscovery")
            .field("issuer_clients", &self.issuer_clients.keys())
            .finish_non_exhaustive()
    }
}
