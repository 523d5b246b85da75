//! The client: sends a request to the hub and reads the response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::ErrorResponse;
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

/// The client of a service (a back end). Cheap to clone; clones share connections and tokens.
///
/// There is no method to close it: when the last clone is dropped, its pooled connections are closed.
#[derive(Debug, Clone)]
pub struct ServiceClient(Arc<Inner>);

pub(crate) struct Inner {
    /// `https://host[:port]`
    pub(crate) base_url: String,
    pub(crate) authorization: Authorization,
    pub(crate) http: HttpClient,
    pub(crate) connect_timeout: Duration,
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

/// A request that is being built.
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
    /// Builds a client from the connection string of a shared access policy,
    /// `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`. A port in `HostName` is the HTTPS port.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        Self::builder_from_connection_string(text)?.build()
    }

    /// Returns a builder with the settings of a connection string.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the text cannot be read. The error does not repeat a secret.
    pub fn builder_from_connection_string(text: &str) -> Result<Builder, Error> {
        Builder::from_connection_string(text)
    }

    /// Builds a client of the hub `host`, which may have a port, with a token credential.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn from_token_credential(
        host: &str,
        credential: impl TokenCredential + 'static,
    ) -> Result<Self, Error> {
        Self::builder(host).token_credential(credential).build()
    }

    /// Returns a builder for the hub `host`, which may have a port (for HTTPS).
    pub fn builder(host: &str) -> Builder {
        Builder::new(host)
    }

    pub(crate) fn from_parts(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// The time limit of a response, and of a pause in its body.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    /// Sends a request to a URL that contains its own authorization. Waits for the head of the response.
    pub(crate) async fn send_signed(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        self.0.http.send_streaming(request, self.0.request_timeout).await
    }

    /// Begins a request. `query` is empty or ends with `&`; `api-version` follows it.
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
    /// Adds `If-Match` with this etag, or `*`.
    pub(crate) fn if_match(mut self, etag: Option<&str>) -> Self {
        self.if_match = etag.map(|etag| match etag {
            "*" => "*".to_owned(),
            etag => format!("\"{}\"", etag.trim_matches('"')),
        });
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        self.body = Some(body);
        self
    }

    /// Sets a JSON body.
    pub(crate) fn json(mut self, body: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            let message = format!("the request cannot be written as JSON: {error}");
            Error::invalid_input(message).with_source(error)
        })?;
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        self.headers.insert(header::CONTENT_TYPE, json);
        self.body = Some(body.into());
        Ok(self)
    }

    /// Extends the time limit of the response.
    pub(crate) fn extend_timeout(mut self, extra: Duration) -> Self {
        self.timeout = self.timeout.saturating_add(extra);
        self
    }

    /// Sends the request. A response with an error status is an error.
    pub(crate) async fn send(self) -> Result<HttpResponse, Error> {
        let response = self.send_any_status().await?;
        if response.status.is_success() { Ok(response) } else { Err(error(&response)) }
    }

    /// Sends the request. A response with an error status is a response like any other.
    pub(crate) async fn send_any_status(self) -> Result<HttpResponse, Error> {
        let (client, timeout) = (self.client, self.timeout);
        let response = client.0.http.send(self.into_http().await?, timeout).await?;
        tracing::debug!(status = response.status.as_u16(), "response received");
        Ok(response)
    }

    /// Sends the request and returns the response without reading its body. An error status is an error.
    pub(crate) async fn send_streaming(self) -> Result<Response<Incoming>, Error> {
        let (client, timeout) = (self.client, self.timeout);
        let response = client.0.http.send_streaming(self.into_http().await?, timeout).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let response = http_client::read_body(response, timeout).await?;
        Err(error(&response))
    }

    async fn into_http(self) -> Result<Request<Bytes>, Error> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.uri)
            .header(
                header::AUTHORIZATION,
                self.client.0.authorization.header(self.client.0.connect_timeout).await?,
            )
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json");
        if let Some(etag) = self.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
            .body(self.body.unwrap_or_default())
            .map_err(|error| Error::invalid_input("the request cannot be written as HTTP").with_source(error))
    }

    /// Sends the request and reads the response as JSON.
    pub(crate) async fn send_json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let response = self.send().await?;
        serde_json::from_slice(&response.body).map_err(|error| response.into_error(error))
    }
}

impl HttpResponse {
    /// Returns the error of a response whose body is not the expected result: what the hub says, or that the body cannot be
    /// read.
    pub(crate) fn into_error(self, cause: serde_json::Error) -> Error {
        if self.status.is_success() {
            return Error::new(ErrorKind::Protocol, "the response of the hub cannot be read")
                .with_source(cause);
        }
        error(&self)
    }
}

fn error(response: &HttpResponse) -> Error {
    let text = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
    let (code, id) = (text("iothub-errorcode"), text("x-ms-request-id"));
    let status = response.status.as_u16();
    // It may also be a date, which hubs do not send.
    let retry_after = text(header::RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok());
    Error::from_response(
        "the hub refused the request",
        ErrorResponse::parse(status, code, id, &response.body),
    )
    .with_retry_after(retry_after.map(Duration::from_secs))
}

#[cfg(test)]
impl ServiceClient {
    pub(crate) fn base_url(&self) -> &str {
        &self.0.base_url
    }

    pub(crate) fn signed_resource(&self) -> Option<&str> {
        self.0.authorization.resource()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_repeats_the_response_of_the_hub() {
        let mut headers = HeaderMap::new();
        headers.insert("iothub-errorcode", HeaderValue::from_static("DeviceNotFound"));
        headers.insert("x-ms-request-id", HeaderValue::from_static("id"));
        let body = Bytes::from_static(br#"{"Message":"ErrorCode:DeviceNotFound;dev1 is not registered"}"#);
        let error = error(&HttpResponse { status: http::StatusCode::NOT_FOUND, headers, body });
        assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(404)));
        assert_eq!((error.code(), error.code_name()), (Some(404_001), Some("DeviceNotFound")));
        assert_eq!(error.tracking_id(), Some("id"));
        assert_eq!(error.message(), "the hub refused the request: dev1 is not registered");
        assert_eq!(
            error.to_string(),
            "the hub refused the request: dev1 is not registered (DeviceNotFound 404001)"
        );
    }

    #[test]
    fn an_error_says_when_the_hub_asks_to_repeat_the_request() {
        for (value, expected) in [
            (Some("5"), Some(Duration::from_secs(5))),
            (Some("Fri, 27 Nov 2026 20:00:00 GMT"), None),
            (Some("-1"), None),
            (None, None),
        ] {
            let value = value.map(|value| (header::RETRY_AFTER, HeaderValue::from_static(value)));
            let (status, body) = (http::StatusCode::TOO_MANY_REQUESTS, Bytes::new());
            let error = error(&HttpResponse { status, headers: value.into_iter().collect(), body });
            assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, expected));
        }
    }

    #[test]
    fn the_longest_timeout_can_be_extended() {
        let pem = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
        let client = ServiceClient::builder("h")
            .shared_access_key("p", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .root_certificates_only(pem)
            .request_timeout(Duration::MAX)
            .build()
            .unwrap();
        let request = client.request(Method::GET, "/", "").extend_timeout(Duration::MAX);
        assert_eq!(request.timeout, Duration::MAX);
    }
}
