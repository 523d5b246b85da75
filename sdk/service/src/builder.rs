//! The builder of a client.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::{HostPort, ServiceConnectionString, SharedAccessKey};

use crate::authorization::Authorization;
use crate::client::Inner;
use crate::http_client::{HttpClient, HttpSettings};
use crate::{Error, ServiceClient, TokenCredential};

/// The default time limit of a request that does not wait for a device.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Builds a [`ServiceClient`]; from [`ServiceClient::builder`] or [`ServiceClient::builder_from_connection_string`].
/// [`build`](Self::build) checks all settings.
#[must_use]
pub struct Builder {
    host: String,
    credential: HubCredential,
    http: HttpSettings,
    request_timeout: Duration,
}

/// How the client authenticates; not checked yet.
enum HubCredential {
    None,
    SharedAccess { policy: String, key: String },
    Token(Arc<dyn TokenCredential>),
}

impl Builder {
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            credential: HubCredential::None,
            http: HttpSettings::default(),
            request_timeout: REQUEST_TIMEOUT,
        }
    }

    pub(crate) fn from_connection_string(text: &str) -> Result<Self, Error> {
        let parsed: ServiceConnectionString =
            text.parse().map_err(|error| Error::invalid_input(format!("{error}")).with_source(error))?;
        Ok(Self::new(&parsed.host_name).shared_access_key(parsed.policy, parsed.key.to_base64()))
    }

    /// Authenticates with a key, in base64, of a shared access policy. The client signs tokens with it.
    pub fn shared_access_key(mut self, policy: impl Into<String>, key: impl Into<String>) -> Self {
        self.credential = HubCredential::SharedAccess { policy: policy.into(), key: key.into() };
        self
    }

    /// Authenticates with tokens of a credential, such as
    /// [`ClientSecretCredential`](crate::ClientSecretCredential).
    pub fn token_credential(mut self, credential: impl TokenCredential + 'static) -> Self {
        self.credential = HubCredential::Token(Arc::new(credential));
        self
    }

    /// Trusts the certificate authorities in this PEM text and no others: replaces those of the system. May be called
    /// several times. `SSL_CERT_FILE` in the environment replaces the system's, too.
    pub fn root_certificates_only(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.only(pem.into());
        self
    }

    /// Trusts the certificate authorities in this PEM text, in addition to those of the system. May be called several
    /// times.
    pub fn additional_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.add(pem.into());
        self
    }

    /// Connects to this address and port instead of resolving the host name. The certificate of the hub must still
    /// match the host name. For tests, and for networks without DNS.
    pub fn connect_to(mut self, address: SocketAddr) -> Self {
        self.http.connect_to = Some(address);
        self
    }

    /// Sets the time limit for a token of a [credential](Self::token_credential), and for the TCP connect of a new
    /// connection. Default 30 s. The TLS handshake is part of the [request time-out](Self::request_timeout).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.http.connect_timeout = timeout;
        self
    }

    /// Sets the time limit of a request. Default 60 s. A method call has its own time-outs in addition.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Checks the settings and builds the client. Nothing is sent. Reads the system's certificates, unless
    /// [`root_certificates_only`](Self::root_certificates_only) was called.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid setting;
    /// [`ErrorKind::Tls`](crate::ErrorKind::Tls) if the system has no trusted certificates and none are given.
    pub fn build(self) -> Result<ServiceClient, Error> {
        let host_port = HostPort::parse(&self.host)?;
        let authorization = match self.credential {
            HubCredential::None => {
                return Err(Error::invalid_input(
                    "the client has no credential; call shared_access_key or token_credential",
                ));
            }
            HubCredential::SharedAccess { policy, key } => {
                let key = SharedAccessKey::from_base64(&key).map_err(|error| {
                    Error::invalid_input(format!("the shared access key: {error}")).with_source(error)
                })?;
                Authorization::shared_access(host_port.host.clone(), policy, key)
            }
            HubCredential::Token(credential) => Authorization::Token(credential),
        };
        let base_url = format!("https://{host_port}");
        if format!("{base_url}/").parse::<http::Uri>().is_err() {
            return Err(Error::invalid_input(format!("{:?} is not a host name", self.host)));
        }
        Ok(ServiceClient::from_parts(Inner {
            base_url,
            authorization,
            connect_timeout: self.http.connect_timeout,
            http: HttpClient::new(&self.http)?,
            request_timeout: self.request_timeout,
        }))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("host", &self.host)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn pem() -> String {
        rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem()
    }

    fn builder(host: &str) -> Builder {
        ServiceClient::builder(host).shared_access_key("service", KEY).root_certificates_only(pem())
    }

    #[test]
    fn a_host_may_be_an_ipv6_address_with_or_without_a_port() {
        for (host, base_url, resource) in [
            ("hub.example", "https://hub.example", "hub.example"),
            ("hub.example:8443", "https://hub.example:8443", "hub.example"),
            ("127.0.0.1:443", "https://127.0.0.1:443", "127.0.0.1"),
            ("::1", "https://[::1]", "::1"),
            ("[::1]:8443", "https://[::1]:8443", "::1"),
        ] {
            let client = builder(host).build().unwrap();
            assert_eq!(client.base_url(), base_url);
            assert_eq!(client.signed_resource(), Some(resource), "{host}");
        }
    }

    #[test]
    fn invalid_settings_are_refused() {
        let kind = |builder: Builder| builder.build().unwrap_err().kind();
        assert_eq!(kind(ServiceClient::builder("h")), ErrorKind::InvalidInput);
        assert_eq!(kind(builder("a b")), ErrorKind::InvalidInput);
        assert_eq!(kind(builder("h:x")), ErrorKind::InvalidInput);
        assert_eq!(kind(builder("h").shared_access_key("p", "no key")), ErrorKind::InvalidInput);
        assert_eq!(kind(builder("h").root_certificates_only("/etc/ca.pem")), ErrorKind::InvalidInput);
        assert_eq!(kind(builder("h").additional_root_certificates("/etc/ca.pem")), ErrorKind::InvalidInput);
        assert!(builder("h").additional_root_certificates(pem()).build().is_ok());
        let error = ServiceClient::builder_from_connection_string("HostName=h").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = format!("HostName=h:1;SharedAccessKeyName=p;SharedAccessKey={KEY}");
        assert!(ServiceClient::builder_from_connection_string(&text).is_ok());
    }
}
