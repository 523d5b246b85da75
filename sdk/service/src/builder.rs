//! How a client is put together.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::{ConnectionStringError, ServiceConnectionString};

use crate::authorization::Authorization;
use crate::client::Inner;
use crate::http_client::{HttpClient, HttpSettings};
use crate::{Error, ErrorKind, ServiceClient, TokenCredential};

/// The time for a request that does not wait for a device.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Puts a [`ServiceClient`] together. Begin with [`ServiceClient::builder`].
#[must_use]
pub struct Builder {
    credential: HubCredential,
    http: HttpSettings,
    request_timeout: Duration,
}

enum HubCredential {
    None,
    ConnectionString(String),
    Token { host: String, credential: Arc<dyn TokenCredential> },
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            credential: HubCredential::None,
            http: HttpSettings::default(),
            request_timeout: REQUEST_TIMEOUT,
        }
    }

    /// The connection string of a shared access policy:
    /// `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`. The host may carry a port.
    pub fn connection_string(mut self, text: &str) -> Self {
        self.credential = HubCredential::ConnectionString(text.to_owned());
        self
    }

    /// The hub `host`, with a port if it is not 443, and a credential that gets tokens for it.
    pub fn token_credential(mut self, host: &str, credential: impl TokenCredential + 'static) -> Self {
        self.credential = HubCredential::Token { host: host.to_owned(), credential: Arc::new(credential) };
        self
    }

    /// Trusts the certificate authorities in this PEM text too.
    pub fn additional_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.push(pem.into());
        self
    }

    /// Connects there instead of where the hub's name leads. The hub's certificate must still certify its name.
    pub fn connect_to(mut self, address: SocketAddr) -> Self {
        self.http.connect_to = Some(address);
        self
    }

    /// How long the hub may take to answer; 60 seconds if you do not say. A method call gets its own time-outs on top.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the connection string, the host or a certificate cannot be read.
    pub fn build(self) -> Result<ServiceClient, Error> {
        let (authority, authorization) = match self.credential {
            HubCredential::None => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "there is no connection string and no credential",
                ));
            }
            HubCredential::ConnectionString(text) => {
                let credential: ServiceConnectionString =
                    text.parse().map_err(|error: ConnectionStringError| {
                        Error::new(ErrorKind::InvalidInput, "the connection string cannot be used")
                            .with_source(error)
                    })?;
                let host = host_of(&credential.host_name).to_owned();
                (credential.host_name, Authorization::shared_access(&host, credential.policy, credential.key))
            }
            HubCredential::Token { host, credential } => (host, Authorization::Token(credential)),
        };
        if format!("https://{authority}/").parse::<http::Uri>().is_err() {
            return Err(Error::new(ErrorKind::InvalidInput, format!("{authority:?} is not a host name")));
        }
        Ok(ServiceClient::from_parts(Inner {
            base_url: format!("https://{authority}"),
            authorization,
            http: HttpClient::new(&self.http)?,
            request_timeout: self.request_timeout,
        }))
    }
}

/// The name without the port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("request_timeout", &self.request_timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn a_port_is_no_part_of_the_name() {
        assert_eq!(host_of("hub.example"), "hub.example");
        assert_eq!(host_of("hub.example:8443"), "hub.example");
        assert_eq!(host_of("127.0.0.1:443"), "127.0.0.1");
    }
}
