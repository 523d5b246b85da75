//! Requests over HTTPS, for what MQTT does not carry: files, and calls of other devices' methods.
//!
//! HTTP/1.1 over the same TLS as everything else: the same authorities are trusted, and the device's certificate proves
//! it here, too. A connection is opened when it is needed and closed when its user is done; nothing is kept.

mod connection;

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method};
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::TlsConnector;

use crate::config::{API_VERSION, Config};
use crate::error::{Error, ErrorKind};
use crate::host_port::HostPort;
use crate::transport::Endpoint;

pub(crate) use connection::{Connection, HttpResponse};

/// Where requests go.
#[derive(Clone)]
pub(crate) struct HttpsEndpoints {
    /// The hub, or the gateway before it.
    pub(crate) hub: Endpoint,
    /// For other hosts: it never shows them the device's certificate.
    pub(crate) without_client_certificate: TlsConnector,
}

impl HttpsEndpoints {
    /// The host that `text` names, with or without a port: the hub itself, or another.
    pub(crate) fn endpoint(&self, text: &str) -> Result<Endpoint, Error> {
        let host_port = HostPort::parse(text)?;
        if host_port.host.eq_ignore_ascii_case(&self.hub.host) {
            return Ok(Endpoint { port: host_port.port.unwrap_or(self.hub.port), ..self.hub.clone() });
        }
        let server_name = ServerName::try_from(host_port.host.clone()).map_err(|error| {
            Error::caused(ErrorKind::Protocol, "the hub named a host that cannot be one", error)
        })?;
        Ok(Endpoint {
            tls: self.without_client_certificate.clone(),
            server_name,
            host: host_port.host,
            port: host_port.port.unwrap_or(443),
            address: None,
        })
    }
}

impl Config {
    /// One request of JSON to the hub, in the device's name. `path` is encoded, and has no query.
    pub(crate) async fn post<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<HttpResponse, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::caused(ErrorKind::InvalidPayload, "the request cannot be written as JSON", error)
        })?;
        let mut all = headers;
        all.insert(ACCEPT, HeaderValue::from_static("application/json"));
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        self.request(Method::POST, path, "", all, Bytes::from(body), timeout).await
    }

    /// One request to the hub, in the device's name. `path` is encoded; `query` is empty or ends with `&`.
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
            Err(Error::new(ErrorKind::Timeout, "the hub did not answer the request in time"))
        })
    }

    pub(crate) fn https(&self) -> Result<&HttpsEndpoints, Error> {
        self.https.as_ref().ok_or_else(|| Error::invalid_input("this client has no HTTPS"))
    }
}

impl HttpResponse {
    /// Itself, if the hub did what it was asked.
    pub(crate) fn success(self, what: &str) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let error = Error::from_response(self.status.as_u16(), what, &self.body);
        // Here it is not the application's JSON that is wrong.
        Err(if error.kind() == ErrorKind::InvalidPayload {
            error.with_kind(ErrorKind::Rejected)
        } else {
            error
        })
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the hub's answer is not what it should be: {error}");
            Error::caused(ErrorKind::Protocol, message, error)
        })
    }
}

/// A header's value; what cannot stand in one is refused.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text)
        .map_err(|error| Error::caused(ErrorKind::InvalidInput, "this cannot stand in a header", error))
}

/// Names that are not in the standard.
pub(crate) fn header_name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}
