//! Requests over HTTPS: file uploads, method calls to other devices, and messages that are received over HTTPS.
//!
//! HTTP/1.1 over the same TLS configuration as MQTT: the same CAs are trusted, and a device certificate authenticates
//! the device here, too. A connection is opened for each use and closed afterwards; there is no pool.

mod connection;

use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::{ErrorResponse, HostPort};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method};
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::TlsConnector;

use crate::config::{API_VERSION, Config};
use crate::error::{Error, ErrorKind};
use crate::transport::Endpoint;

pub(crate) use connection::{Connection, HttpResponse};

/// The endpoints of requests.
#[derive(Clone)]
pub(crate) struct HttpsEndpoints {
    /// The hub, or the gateway before it.
    pub(crate) hub: Endpoint,
    /// For other hosts: never presents the device certificate.
    pub(crate) without_client_certificate: TlsConnector,
}

impl HttpsEndpoints {
    /// Returns the endpoint of a host that the hub named, with or without a port: the hub itself, or another one.
    pub(crate) fn endpoint(&self, text: &str) -> Result<Endpoint, Error> {
        let invalid = "the hub sent an invalid host name for the upload";
        let HostPort { host, port } = HostPort::parse(text)
            .map_err(|error| Error::new(ErrorKind::Protocol, invalid).with_source(error))?;
        if host.eq_ignore_ascii_case(&self.hub.host) {
            return Ok(Endpoint { port: port.unwrap_or(self.hub.port), ..self.hub.clone() });
        }
        let server_name = ServerName::try_from(host.clone())
            .map_err(|error| Error::new(ErrorKind::Protocol, invalid).with_source(error))?;
        Ok(Endpoint {
            tls: self.without_client_certificate.clone(),
            server_name,
            host,
            port: port.unwrap_or(443),
            address: None,
        })
    }
}

impl Config {
    /// Sends one request with a JSON body to the hub, authenticated as the device. `path` is encoded, without query.
    pub(crate) async fn post<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<HttpResponse, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::invalid_input(format!("the request cannot be written as JSON: {error}")).with_source(error)
        })?;
        let mut all = headers;
        all.insert(ACCEPT, HeaderValue::from_static("application/json"));
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        self.request(Method::POST, path, "", all, Bytes::from(body), timeout).await
    }

    /// Sends one request to the hub, authenticated as the device. `path` is encoded; `query` is empty or ends with `&`.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<HttpResponse, Error> {
        let request = async {
            let mut all = headers;
            all.insert(USER_AGENT, header_value(&self.client_type)?);
            if let Some(token) = self.token().await? {
                let mut token = header_value(&token.text)?;
                token.set_sensitive(true);
                all.insert(AUTHORIZATION, token);
            }
            let mut connection = Connection::open(&self.https()?.hub).await?;
            let target = format!("{path}?{query}api-version={API_VERSION}");
            connection.send(method, &target, all, body).await
        };
        tokio::time::timeout(timeout, request).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the hub did not respond to the request in time"))
        })
    }

    pub(crate) fn https(&self) -> Result<&HttpsEndpoints, Error> {
        self.https.as_ref().ok_or_else(|| Error::invalid_input("this client has no HTTPS endpoint"))
    }
}

impl HttpResponse {
    /// Returns the response if its status is a success. `what` says what failed otherwise.
    pub(crate) fn success(self, what: &str) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let (code, id) = (header("iothub-errorcode"), header("x-ms-request-id"));
        Err(Error::from_response(what, ErrorResponse::parse(self.status.as_u16(), code, id, &self.body)))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the response of the hub cannot be read: {error}");
            Error::new(ErrorKind::Protocol, message).with_source(error)
        })
    }
}

/// Converts a text into a header value.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|error| {
        Error::invalid_input("a value contains characters that an HTTP header cannot carry")
            .with_source(error)
    })
}

/// A header name that the HTTP standard does not define.
pub(crate) fn header_name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}
