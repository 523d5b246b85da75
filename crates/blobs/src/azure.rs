//! Blobs in a container of Azure Storage or a compatible store. Devices upload directly to the container. The hub only
//! checks whether a blob exists, with a shared access signature that it signs itself: valid for a few minutes, and only
//! for reading that blob.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{Blob, BlobEndpoint, BlobError, BlobProperties, BlobStore};
use ferrohub_model::blob_sas::{self, BlobAddress, BlobRight, BlobRights};
use ferrohub_model::file::BlobName;
use ferrohub_model::{SharedAccessKey, Timestamp};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// Time-out of a request to the storage.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Validity of the hub's own signatures: enough for one request and for clock skew.
const SIGNATURE_LIFETIME_MILLIS: i64 = 5 * 60 * 1000;

/// The blob store in a container of a storage account.
pub struct AzureBlobStore {
    endpoint: BlobEndpoint,
    key: SharedAccessKey,
    clock: Arc<dyn Clock>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl AzureBlobStore {
    /// Creates the client; sends no request yet. It trusts the certificate authorities of the operating system.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(
        endpoint: BlobEndpoint,
        key: SharedAccessKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self { endpoint, key, clock, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn head(&self, name: &BlobName) -> Result<(StatusCode, HeaderMap), BlobError> {
        let address = BlobAddress {
            account: &self.endpoint.account,
            container: &self.endpoint.container,
            blob: name.as_str(),
        };
        let until = self.clock.now().plus_millis(SIGNATURE_LIFETIME_MILLIS);
        let rights = BlobRights::of(&[BlobRight::Read]);
        let query = blob_sas::sign(address, rights, until, self.endpoint.https, &self.key);
        // The errors must not contain the URL: its query is a credential.
        let unavailable = |reason: &dyn std::fmt::Display| BlobError::Unavailable(reason.to_string());
        let request = Request::builder()
            .method(Method::HEAD)
            .uri(format!("{}{query}", self.endpoint.uri(name)))
            .header("x-ms-version", blob_sas::SAS_VERSION)
            .body(Empty::new())
            .map_err(|error| unavailable(&error))?;
        match tokio::time::timeout(TIMEOUT, self.client.request(request)).await {
            Ok(Ok(response)) => Ok((response.status(), response.headers().clone())),
            Ok(Err(error)) => Err(unavailable(&error)),
            Err(_) => Err(unavailable(&"the request timed out")),
        }
    }
}

#[async_trait]
impl BlobStore for AzureBlobStore {
    fn endpoint(&self) -> &BlobEndpoint {
        &self.endpoint
    }

    async fn stat(&self, name: &BlobName) -> Result<Option<Blob>, BlobError> {
        let (status, headers) = self.head(name).await?;
        match status {
            StatusCode::OK => blob_from_headers(name, &headers).map(Some).ok_or_else(|| {
                BlobError::Unavailable("the response has no valid Content-Length or Last-Modified".to_owned())
            }),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(BlobError::Unavailable(match headers.get("x-ms-error-code") {
                Some(code) => format!("{other}, {}", code.to_str().unwrap_or_default()),
                None => other.to_string(),
            })),
        }
    }
}

fn blob_from_headers(name: &BlobName, headers: &HeaderMap) -> Option<Blob> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Some(Blob {
        name: name.clone(),
        bytes: text(header::CONTENT_LENGTH)?.parse().ok()?,
        etag: text(header::ETAG).unwrap_or_default().trim_matches('"').to_owned(),
        modified: text(header::LAST_MODIFIED).and_then(Timestamp::parse_http_date)?,
        properties: BlobProperties::new(),
    })
}
