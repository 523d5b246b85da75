//! The client: one request to the hub and its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::authorization::Authorization;
use crate::http_client::{self, HttpClient, HttpResponse};
use crate::{Builder, Error, ErrorKind, TokenCredential};

/// The version of the REST API that this client speaks.
const API_VERSION: &str = "2021-04-12";
const USER_AGENT: &str = concat!("ferrohub-service/", env!("CARGO_PKG_VERSION"));

/// A back end's client of a hub. Cheap to clone; clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct ServiceClient(Arc<Inner>);

pub(crate) struct Inner {
    /// `https://host[:port]`
    pub(crate) base_url: String,
    pub(crate) authorization: Authorization,
    pub(crate) http: HttpClient,
    pub(crate) request_timeout: Duration,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceClient")
            .field("hub", &self.base_url)
            .field("authorization", &self.authorization)
            .finish_non_exhaustive()
    }
}

/// A request that is being put together.
pub(crate) struct ApiRequest<'a> {
    client: &'a ServiceClient,
    method: Method,
    uri: String,
    if_match: Option<String>,
    headers: HeaderMap,
    body: Option<Bytes>,
    timeout: Duration,
}

impl ServiceClient {
    /// A client with the connection string of a shared access policy.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]
    pub fn from_connection_string(connection_string: &str) -> Result<Self, Error> {
        Self::builder().connection_string(connection_string).build()
    }

    /// A client of the hub `host` with a credential that gets tokens for it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]
    pub fn from_token_credential(
        host: &str,
        credential: impl TokenCredential + 'static,
    ) -> Result<Self, Error> {
        Self::builder().token_credential(host, credential).build()
    }

    /// A client with settings of your own.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_parts(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// How long an answer may take, and stand still.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    /// A request to a path, with the query that is to stand before `api-version`.
    pub(crate) fn request(&self, method: Method, path: &str, query: &str) -> ApiRequest<'_> {
        ApiRequest {
            client: self,
            method,
            uri: format!("{}{path}?{query}api-version={API_VERSION}", self.0.base_url),
            if_match: None,
            headers: HeaderMap::new(),
            body: None,
            timeout: self.0.request_timeout,
        }
    }
}

impl ApiRequest<'_> {
    /// Only if the etag is still this one (`*`: whatever it is).
    pub(crate) fn if_match(mut self, etag: Option<&str>) -> Self {
        self.if_match = etag.map(|etag| match etag {
            "*" => "*".to_owned(),
            etag => format!("\"{}\"", etag.trim_matches('"')),
        });
        self
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With bytes of any kind.
    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        self.body = Some(body);
        self
    }

    /// With JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the request cannot be written as JSON").with_source(error)
        })?;
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        self.headers.insert(header::CONTENT_TYPE, json);
        self.body = Some(body.into());
        Ok(self)
    }

    /// With so much more time for the answer.
    pub(crate) fn extend_timeout(mut self, extra: Duration) -> Self {
        self.timeout += extra;
        self
    }

    /// Sends it; a refusal is an error.
    pub(crate) async fn send(self) -> Result<HttpResponse, Error> {
        let (client, timeout) = (self.client, self.timeout);
        let answer = client.0.http.send(self.into_http().await?, timeout).await?;
        tracing::debug!(status = answer.status.as_u16(), "the hub answered");
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(Error::from_response(answer.status, &answer.headers, &answer.body))
        }
    }

    /// Sends it and leaves the body of the answer to be read as it comes; a refusal is an error.
    pub(crate) async fn send_streaming(self) -> Result<Response<Incoming>, Error> {
        let (client, timeout) = (self.client, self.timeout);
        let response = client.0.http.send_streaming(self.into_http().await?, timeout).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = http_client::read_body(response, timeout).await?;
        Err(Error::from_response(answer.status, &answer.headers, &answer.body))
    }

    async fn into_http(self) -> Result<Request<Bytes>, Error> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.uri)
            .header(header::AUTHORIZATION, self.client.0.authorization.header().await?)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json");
        if let Some(etag) = self.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(self.body.unwrap_or_default()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the request cannot be sent").with_source(error)
        })
    }

    /// Sends it and reads the answer as JSON.
    pub(crate) async fn send_json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let answer = self.send().await?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the hub's answer cannot be read").with_source(error)
        })
    }
}
