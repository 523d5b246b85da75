//! A persistent HTTP/1.1 connection.

use anyhow::ensure;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;

use super::dial::Dial;

/// A connection of a service to the hub.
pub(crate) struct HttpLink {
    sender: SendRequest<Full<Bytes>>,
    token: header::HeaderValue,
}

impl HttpLink {
    pub(crate) async fn open(dial: &Dial, token: &str) -> anyhow::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(dial.tls().await?)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, token: token.try_into()? })
    }

    /// Sends a request and returns the body of the response. A status other than 2xx is an error.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        self.send_with(method, path, None, body).await
    }

    /// Changes what exists, in any version.
    pub(crate) async fn update(&mut self, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        self.send_with(Method::PUT, path, Some("*"), body).await
    }

    async fn send_with(
        &mut self,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, &self.token)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(if_match) = if_match {
            request = request.header(header::IF_MATCH, if_match);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}
