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
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::transport::Site;

pub(crate) use connection::{Answer, Connection};

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Https {
    /// The hub, or the gateway before it.
    pub(crate) hub: Site,
    /// For other hosts: it never shows them the device's certificate.
    pub(crate) others: TlsConnector,
}

impl Https {
    /// The host that `text` names, with or without a port: the hub itself, or another.
    pub(crate) fn site(&self, text: &str) -> Result<Site, Error> {
        let endpoint = Endpoint::parse(text)?;
        if endpoint.host.eq_ignore_ascii_case(&self.hub.host) {
            return Ok(Site { port: endpoint.port.unwrap_or(self.hub.port), ..self.hub.clone() });
        }
        let server_name = ServerName::try_from(endpoint.host.clone()).map_err(|error| {
            Error::caused(ErrorKind::Protocol, "the hub named a host that cannot be one", error)
        })?;
        Ok(Site {
            tls: self.others.clone(),
            server_name,
            host: endpoint.host,
            port: endpoint.port.unwrap_or(443),
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
        patience: Duration,
    ) -> Result<Answer, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::caused(ErrorKind::InvalidPayload, "the request cannot be written as JSON", error)
        })?;
        let mut all = headers;
        all.insert(ACCEPT, HeaderValue::from_static("application/json"));
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        self.request(Method::POST, path, "", all, Bytes::from(body), patience).await
    }

    /// One request to the hub, in the device's name. `path` is encoded; `query` is empty or ends with `&`.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let request = async {
            let mut all = headers;
            all.insert(USER_AGENT, header(&self.client_type)?);
            if let Some(token) = self.token().await? {
                let mut token = header(&token.text)?;
                token.set_sensitive(true);
                all.insert(AUTHORIZATION, token);
            }
            let mut connection = Connection::open(&self.https()?.hub).await?;
            let target = format!("{path}?{query}api-version={API_VERSION}");
            connection.send(method, &target, all, body).await
        };
        tokio::time::timeout(patience, request).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the hub did not answer the request in time"))
        })
    }

    pub(crate) fn https(&self) -> Result<&Https, Error> {
        self.https.as_ref().ok_or_else(|| Error::invalid("this client has no HTTPS"))
    }
}

impl Answer {
    /// Itself, if the hub did what it was asked.
    pub(crate) fn success(self, what: &str) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let error = Error::refused(self.status.as_u16(), what, &self.body);
        // Here it is not the application's JSON that is wrong.
        Err(if error.kind() == ErrorKind::InvalidPayload {
            error.of_kind(ErrorKind::Rejected)
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
pub(crate) fn header(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text)
        .map_err(|error| Error::caused(ErrorKind::InvalidArgument, "this cannot stand in a header", error))
}

/// Names that are not in the standard.
pub(crate) fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}
