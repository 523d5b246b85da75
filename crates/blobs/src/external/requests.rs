//! Requests to the storage of a signed URL.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferrohub_core::import_export::ContainerError;
use ferrohub_model::{blob_sas, percent};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::allowed_host::AllowedHost;

/// Time-out of a connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The URL of a blob in a container whose host is allowed.
pub(super) struct BlobUrl {
    /// Everything before the query.
    base: String,
    /// The signature. A secret.
    query: String,
}

impl BlobUrl {
    pub(super) fn parse(
        container: &str,
        blob: &str,
        allowed: &[AllowedHost],
    ) -> Result<Self, ContainerError> {
        let invalid = |text: &str| ContainerError::NotAllowed(text.to_owned());
        let uri: Uri = container.trim().parse().map_err(|_| invalid("its URI is not valid"))?;
        let host = AllowedHost::of(&uri).ok_or_else(|| invalid("its URI is not one of https with a host"))?;
        if !allowed.contains(&host) {
            return Err(ContainerError::NotAllowed(format!(
                "the hub may not reach {host}; an operator can add it to files.import_hosts"
            )));
        }
        let query = uri.query().unwrap_or_default();
        if !blob_sas::BlobSasToken::is_present(query) {
            return Err(invalid("its URI has no shared access signature"));
        }
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        let authority = authority.map(http::uri::Authority::as_str).unwrap_or_default();
        let path = uri.path().trim_end_matches('/');
        if path.is_empty() {
            return Err(invalid("its URI names no container"));
        }
        let blob: Vec<String> = blob.split('/').map(percent::encode).collect();
        let base = format!("{scheme}://{authority}{path}/{}", blob.join("/"));
        Ok(Self { base, query: query.to_owned() })
    }
}

/// Sends requests. Redirects are not followed: only allowed hosts are reached.
pub(super) struct Client {
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(timeout: Duration) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { client: legacy::Client::builder(TokioExecutor::new()).build(connector), timeout })
    }

    /// Sends a request, with further parameters of the query and headers. Returns the response if it is a success.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &BlobUrl,
        parameters: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<
        Response<impl http_body_util::BodyExt<Data = Bytes, Error: std::fmt::Display> + Send + Unpin + use<>>,
        ContainerError,
    > {
        let separator = if parameters.is_empty() { "" } else { "&" };
        let target = format!("{}?{}{separator}{parameters}", url.base, url.query);
        let mut request =
            Request::builder().method(method).uri(target).header("x-ms-version", blob_sas::SAS_VERSION);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|_| ContainerError::Refused("the request is not valid".to_owned()))?;
        // The errors of the client do not contain the URL.
        let unavailable = |reason: &dyn std::fmt::Display| ContainerError::Unavailable(reason.to_string());
        let response = match timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unavailable(&error)),
            Err(_) => return Err(unavailable(&"the request timed out")),
        };
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(refused(status, response.headers())),
        }
    }
}

/// Returns the error of a response that is no success.
fn refused(status: StatusCode, headers: &http::HeaderMap) -> ContainerError {
    let code = headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
    let text = code.map_or_else(|| status.to_string(), |code| format!("{status}, {code}"));
    match status {
        StatusCode::NOT_FOUND => ContainerError::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ContainerError::Denied(text),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => ContainerError::Unavailable(text),
        status if status.is_server_error() => ContainerError::Unavailable(text),
        status if status.is_redirection() => {
            ContainerError::Refused(format!("{text}; the hub follows no redirects"))
        }
        _ => ContainerError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_containers_of_allowed_hosts_with_a_signature_are_used() {
        let allowed: Vec<AllowedHost> =
            ["a.example", "http://127.0.0.1:10000"].iter().map(|host| host.parse().unwrap()).collect();
        let url = |container: &str| BlobUrl::parse(container, "folder/a b.txt", &allowed);
        let ok = url("https://A.example/c/?sv=1&sig=x%2B").map_err(|error| error.to_string()).ok().unwrap();
        assert_eq!(
            (ok.base.as_str(), ok.query.as_str()),
            ("https://A.example/c/folder/a%20b.txt", "sv=1&sig=x%2B")
        );
        assert!(url("http://127.0.0.1:10000/account/c?sig=x").is_ok());
        for refused in [
            "https://b.example/c?sig=secret",
            "http://a.example/c?sig=secret",
            "https://a.example:444/c?sig=secret",
            "https://a.example@b.example/c?sig=secret",
            "https://b.example/a.example/c?sig=secret",
            "https://a.example.b.example/c?sig=secret",
            "https://127.0.0.1:10000/c?sig=secret",
            "https://a.example/c",
            "https://a.example/?sig=secret",
            "https://a.example?sig=secret",
            "file:///etc/passwd?sig=secret",
            "//a.example/c?sig=secret",
            "/c?sig=secret",
            "",
        ] {
            let error = url(refused).err().unwrap_or_else(|| panic!("{refused}"));
            assert!(matches!(&error, ContainerError::NotAllowed(_)), "{refused}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
