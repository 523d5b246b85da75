//! One connection for requests, one after the other.

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

/// The largest answer that is read: the answer to a method call has 128 KiB at most, and its wrapping.
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
        let host = HeaderValue::from_str(&host)
            .map_err(|error| Error::caused(ErrorKind::InvalidInput, "the host name cannot be sent", error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(request_error)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "an HTTPS connection ended");
            }
        });
        Ok(Self { sender, host, task })
    }

    /// Whether another request can go out on it.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// One request; `target` is path and query. The answer is read to its end.
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
            Error::caused(ErrorKind::Protocol, "the hub named a place that cannot be asked for", error)
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
        // There is no goodbye in HTTP, and what is still on its way is not wanted.
        self.task.abort();
    }
}

fn request_error(error: hyper::Error) -> Error {
    let kind = if error.is_parse() { ErrorKind::Protocol } else { ErrorKind::Connection };
    Error::caused(kind, format!("the request failed: {error}"), error)
}

fn body_error(error: BoxError) -> Error {
    Error::caused(ErrorKind::Connection, format!("the answer ended early, or is too large: {error}"), error)
}
