//! One HTTP/1.1 connection for sequential requests.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tracing::debug;

use crate::error::{BoxError, Error, ErrorKind};
use crate::transport::Endpoint;

/// Largest response: that of a method call has at most 128 KiB plus its envelope.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    task: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Connection {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let stream = endpoint.open().await?;
        let host = endpoint.authority(443);
        let host = HeaderValue::from_str(&host).map_err(|error| {
            Error::invalid_input("the host name contains characters that an HTTP header cannot carry")
                .with_source(error)
        })?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(request_error)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "HTTPS connection ended with an error");
            }
        });
        Ok(Self { sender, host, task })
    }

    /// Returns whether another request can be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends one request and reads the whole response. `target` is path and query.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<HttpResponse, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|error| {
            Error::new(ErrorKind::Protocol, "the hub sent an invalid path for the upload").with_source(error)
        })?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await.map_err(request_error)?;
        let response = self.sender.send_request(request).await.map_err(request_error)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(body_error)?;
        Ok(HttpResponse { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // HTTP needs no closing handshake, and a response in flight is no longer needed.
        self.task.abort();
    }
}

fn request_error(error: hyper::Error) -> Error {
    let kind = if error.is_parse() { ErrorKind::Protocol } else { ErrorKind::Connection };
    Error::new(kind, format!("the request failed: {error}")).with_source(error)
}

fn body_error(error: BoxError) -> Error {
    Error::new(ErrorKind::Connection, format!("the response ended early or is too large: {error}"))
        .with_source(error)
}
