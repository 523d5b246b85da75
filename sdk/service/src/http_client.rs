//! One pooled HTTPS client: HTTP/1.1 and HTTP/2, the machine's certificate authorities and more.

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

use crate::{BoxError, Error, ErrorKind};

/// More than any answer of a hub.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// What a client is made from.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpSettings {
    /// PEM texts with certificate authorities to trust besides the machine's.
    pub(crate) roots: Vec<Vec<u8>>,
    /// Where to connect, whatever the URL says; names and certificates stay those of the URL.
    pub(crate) connect_to: Option<SocketAddr>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Cheap to clone; clones share the connections.
#[derive(Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<Dial>, Full<Bytes>>);

impl HttpClient {
    pub(crate) fn new(settings: &HttpSettings) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&settings.roots)?)
            .https_only()
            .enable_all_versions()
            .wrap_connector(Dial { http, connect_to: settings.connect_to });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and reads the answer, all within `timeout`.
    pub(crate) async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Answer, Error> {
        within(timeout, async { collect(self.request(request).await?).await }).await
    }

    /// Sends a request and waits up to `timeout` for an answer to begin.
    pub(crate) async fn open(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Error> {
        within(timeout, self.request(request)).await
    }

    async fn request(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        self.0.request(request.map(Full::new)).await.map_err(|error| {
            Error::new(ErrorKind::Connection, "the hub could not be reached").with_source(error)
        })
    }
}

/// Reads an answer to its end, within `timeout`.
pub(crate) async fn read(response: Response<Incoming>, timeout: Duration) -> Result<Answer, Error> {
    within(timeout, collect(response)).await
}

async fn collect(response: Response<Incoming>) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
        Error::new(ErrorKind::Connection, "the hub's answer broke off").with_source(error)
    })?;
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
}

pub(crate) async fn within<T>(
    timeout: Duration,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("the hub did not answer within {} seconds", timeout.as_secs());
            Err(Error::new(ErrorKind::Timeout, text))
        }
    }
}

fn tls(extra: &[Vec<u8>]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // A certificate of the machine's that cannot be read is no reason to fail: it is just not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let unusable = |error: BoxError| {
        Error::new(ErrorKind::InvalidInput, "a root certificate cannot be read").with_source(error)
    };
    for root in extra {
        for certificate in pem::certificates(root).map_err(|error| unusable(error.into()))? {
            roots.add(certificate.into()).map_err(|error| unusable(error.into()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "TLS is not available").with_source(error))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// Connects to the URL's host, or to where the settings say.
#[derive(Clone)]
struct Dial {
    http: HttpConnector,
    connect_to: Option<SocketAddr>,
}

impl Service<Uri> for Dial {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = <HttpConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The address of a socket is always the authority of a URL.
        let elsewhere = self.connect_to.and_then(|address| format!("https://{address}/").parse().ok());
        self.http.call(elsewhere.unwrap_or(uri))
    }
}
