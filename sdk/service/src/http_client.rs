//! A pooled HTTPS client for HTTP/1.1 and HTTP/2.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::pem;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use crate::{Error, ErrorKind};

/// Larger than any response of a hub.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;
/// The default time limit for TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The trusted certificate authorities.
#[derive(Debug, Clone)]
pub(crate) struct RootCertificates {
    /// Whether those of the system are trusted, or of the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    system: bool,
    /// PEM texts with further ones.
    pem: Vec<Vec<u8>>,
}

/// The settings of a client.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    pub(crate) root_certificates: RootCertificates,
    /// The address to connect to instead of resolving the host of the URL.
    pub(crate) connect_to: Option<SocketAddr>,
    /// Time limit for TCP and TLS.
    pub(crate) connect_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            root_certificates: RootCertificates { system: true, pem: Vec::new() },
            connect_to: None,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl RootCertificates {
    /// Trusts these and no longer those of the system.
    pub(crate) fn only(&mut self, pem: Vec<u8>) {
        self.system = false;
        self.pem.push(pem);
    }

    /// Trusts these, too.
    pub(crate) fn add(&mut self, pem: Vec<u8>) {
        self.pem.push(pem);
    }
}

/// A response with its whole body.
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Cheap to clone; clones share the connections.
#[derive(Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<AddressOverride>, Full<Bytes>>);

impl HttpClient {
    pub(crate) fn new(settings: &HttpSettings) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(settings.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(&settings.root_certificates)?)
            .https_only()
            .enable_all_versions()
            .wrap_connector(AddressOverride { http, connect_to: settings.connect_to });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and reads the whole response, within `timeout`.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<HttpResponse, Error> {
        with_timeout(timeout, async { collect(self.request(request).await?).await }).await
    }

    /// Sends a request and waits up to `timeout` for the head of the response.
    pub(crate) async fn send_streaming(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Error> {
        with_timeout(timeout, self.request(request)).await
    }

    async fn request(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        self.0.request(request.map(Full::new)).await.map_err(|error| {
            let (kind, message) = match is_tls_error(&error) {
                true => (ErrorKind::Tls, "TLS with the hub failed"),
                false => (ErrorKind::Connection, "the hub cannot be reached"),
            };
            Error::new(kind, message).with_source(error)
        })
    }
}

/// Reads the whole body, within `timeout`.
pub(crate) async fn read_body(
    response: Response<Incoming>,
    timeout: Duration,
) -> Result<HttpResponse, Error> {
    with_timeout(timeout, collect(response)).await
}

async fn collect(response: Response<Incoming>) -> Result<HttpResponse, Error> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(|error| {
        Error::new(ErrorKind::Connection, "the response of the hub was interrupted").with_source(error)
    })?;
    Ok(HttpResponse { status: head.status, headers: head.headers, body: body.to_bytes() })
}

pub(crate) async fn with_timeout<T>(
    timeout: Duration,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("the hub did not respond within {} seconds", timeout.as_secs());
            Err(Error::new(ErrorKind::Timeout, text))
        }
    }
}

fn tls_config(roots: &RootCertificates) -> Result<ClientConfig, Error> {
    // Set explicitly: the process-wide default belongs to the application.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS is not available").with_source(error))?;
    Ok(versions.with_root_certificates(root_store(roots)?).with_no_client_auth())
}

fn root_store(roots: &RootCertificates) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for text in &roots.pem {
        let certificates = pem::certificates(text).map_err(|error| {
            Error::invalid_input(format!("the root certificate cannot be read: {error}")).with_source(error)
        })?;
        for certificate in certificates {
            store.add(certificate.into()).map_err(|error| {
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
    Ok(store)
}

/// Returns whether an error comes from TLS, at any depth of its sources.
fn is_tls_error(error: &(dyn StdError + 'static)) -> bool {
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

/// Connects to the host of the URL, or to the address of the settings.
#[derive(Clone)]
struct AddressOverride {
    http: HttpConnector,
    connect_to: Option<SocketAddr>,
}

impl Service<Uri> for AddressOverride {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = <HttpConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // A socket address is always a valid authority of a URL.
        let overridden = self.connect_to.and_then(|address| format!("https://{address}/").parse().ok());
        self.http.call(overridden.unwrap_or(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(name: &str) -> Vec<u8> {
        rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem().into_bytes()
    }

    #[test]
    fn root_certificates_replace_or_extend_those_of_the_system() {
        let mut replaced = HttpSettings::default().root_certificates;
        replaced.only(pem("first"));
        replaced.add(pem("second"));
        assert_eq!(root_store(&replaced).unwrap().len(), 2);
        let mut extended = HttpSettings::default().root_certificates;
        extended.add(pem("first"));
        let system = rustls_native_certs::load_native_certs().certs.len();
        let count = root_store(&extended).unwrap().len();
        assert!((1..=1 + system).contains(&count) && (system == 0 || count > 1));
        extended.add(b"/path/ca.pem".to_vec());
        assert_eq!(root_store(&extended).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_tls_error_is_found_inside_io_errors() {
        let tls = rustls::Error::General("bad".to_owned());
        assert!(is_tls_error(&io::Error::other(io::Error::other(tls))));
        assert!(!is_tls_error(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }
}
