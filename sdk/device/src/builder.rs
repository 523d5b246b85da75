//! How a client is described before it exists.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::connection_string::{DeviceConnectionString, DeviceCredential};
use ferrohub_model::{DeviceId, IdentityId, ModuleId, SharedAccessKey};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::client::DeviceClient;
use crate::config::Config;
use crate::credential::Credential;
use crate::error::{BoxError, Error};
use crate::event_queue::OfflinePolicy;
use crate::host_port::HostPort;
use crate::https::HttpsEndpoints;
use crate::reconnect::ReconnectPolicy;
use crate::transport::{
    ClientCertificate, Connector, Endpoint, MqttConnector, RootCertificates, Transport, client_config,
    root_store,
};

/// The longest keep-alive: half again as much is the longest silence that IoT Hub takes.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1177);
/// The most calls that may be worked on at once: each has a packet identifier when it is answered.
const MAX_CONCURRENT_METHODS: usize = 1024;

/// Describes a [`DeviceClient`]; from [`DeviceClient::builder`] or
/// [`DeviceClient::builder_from_connection_string`]. What is wrong is said by [`build`](Self::build).
pub struct Builder {
    host: String,
    device_id: String,
    module_id: Option<String>,
    gateway_host: Option<String>,
    secret: Secret,
    roots: RootCertificates,
    transport: Transport,
    port: Option<u16>,
    address: Option<SocketAddr>,
    https_port: Option<u16>,
    https_address: Option<SocketAddr>,
    token_ttl: Duration,
    keep_alive: Duration,
    connect_timeout: Duration,
    request_timeout: Duration,
    shutdown_timeout: Duration,
    reconnect: ReconnectPolicy,
    offline: OfflinePolicy,
    max_concurrent_methods: usize,
    model_id: Option<String>,
    product_info: Option<String>,
}

/// How the device proves itself, not yet checked.
enum Secret {
    None,
    Key(String),
    Sas(Credential),
    Certificate(ClientCertificate),
}

impl Builder {
    pub(crate) fn new(host: &str, device_id: &str) -> Self {
        Self {
            host: host.to_owned(),
            device_id: device_id.to_owned(),
            module_id: None,
            gateway_host: None,
            secret: Secret::None,
            roots: RootCertificates::System,
            transport: Transport::Mqtt,
            port: None,
            address: None,
            https_port: None,
            https_address: None,
            token_ttl: Duration::from_secs(3600),
            keep_alive: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(30),
            reconnect: ReconnectPolicy::default(),
            offline: OfflinePolicy::default(),
            max_concurrent_methods: 32,
            model_id: None,
            product_info: None,
        }
    }

    pub(crate) fn from_connection_string(text: &str) -> Result<Self, Error> {
        let parsed: DeviceConnectionString = text
            .parse()
            .map_err(|error| Error::caused(crate::ErrorKind::InvalidInput, format!("{error}"), error))?;
        let mut builder = Self::new(&parsed.host_name, parsed.identity.device_str());
        builder.module_id = parsed.identity.module_str().map(str::to_owned);
        builder.gateway_host = parsed.gateway_host_name;
        builder.secret = match parsed.credential {
            DeviceCredential::Key(key) => Secret::Key(key.to_base64()),
            DeviceCredential::Signature(token) => Secret::Sas(Credential::Token(token)),
            // It comes with `x509`.
            DeviceCredential::X509 => Secret::None,
        };
        Ok(builder)
    }

    /// The device (or module) signs its own tokens with this key, in base64, as the registry shows it.
    #[must_use]
    pub fn symmetric_key(mut self, key: impl Into<String>) -> Self {
        self.secret = Secret::Key(key.into());
        self
    }

    /// Somebody signed a token for the device. It cannot be renewed: when it runs out, the hub closes the connection
    /// and the client ends with [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized).
    #[must_use]
    pub fn sas_token(mut self, token: impl Into<String>) -> Self {
        self.secret = Secret::Sas(Credential::Token(token.into()));
        self
    }

    /// Tokens come from a function of the application, say from a security module: it is asked for each connection, and
    /// before a token runs out. An error is reported by the first connect, and tried again later.
    ///
    /// ```
    /// # use ferrohub_device::DeviceClient;
    /// # async fn token_from_vault() -> Result<String, std::io::Error> { unimplemented!() }
    /// let builder = DeviceClient::builder("hub.example.com", "pump-1").sas_token_provider(token_from_vault);
    /// ```
    #[must_use]
    pub fn sas_token_provider<F, Fut, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.secret = Secret::Sas(Credential::Provider(Arc::new(move || {
            let token = provider();
            Box::pin(async move { token.await.map_err(Into::into) })
        })));
        self
    }

    /// The device proves itself with this certificate, followed by those between it and its authority, and its private
    /// key without a password; both PEM texts, not paths.
    #[must_use]
    pub fn x509(mut self, certificates_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.secret = Secret::Certificate(ClientCertificate {
            certificates: certificates_pem.into(),
            key: key_pem.into(),
        });
        self
    }

    /// The client is this module of the device.
    #[must_use]
    pub fn module(mut self, module_id: impl Into<String>) -> Self {
        self.module_id = Some(module_id.into());
        self
    }

    /// Connects to this host, whose certificate must bear its name, instead of to the hub. Tokens still name the hub.
    #[must_use]
    pub fn gateway_host(mut self, host: impl Into<String>) -> Self {
        self.gateway_host = Some(host.into());
        self
    }

    /// Trusts these authorities (PEM text) and no without_client_certificate, instead of those that the system trusts. The system's can be
    /// replaced by the environment as well, with `SSL_CERT_FILE`.
    #[must_use]
    pub fn root_certificates_only(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = RootCertificates::Pem(pem.into());
        self
    }

    /// How MQTT travels. Default [`Transport::Mqtt`].
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Another port than the transport's own: 8883, or 443 for WebSockets.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Opens TCP to this address and port, whatever the host's name resolves to; the name is still what the hub's
    /// certificate must bear. For tests, and for endpoints without DNS.
    #[must_use]
    pub fn connect_to(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Another port than 443 for what goes over HTTPS: files, and [calls of
    /// methods](DeviceClient::invoke_method). With [`Transport::MqttWebSocket`] it is that of the WebSocket anyway.
    #[must_use]
    pub fn https_port(mut self, port: u16) -> Self {
        self.https_port = Some(port);
        self
    }

    /// Opens TCP for HTTPS to this address and port. Default: the address of [`connect_to`](Self::connect_to), if there
    /// is one, and the port of HTTPS.
    #[must_use]
    pub fn https_connect_to(mut self, address: SocketAddr) -> Self {
        self.https_address = Some(address);
        self
    }

    /// For how long tokens are signed, at least one second. Default one hour. They are renewed after 85 % of it, but
    /// no sooner than two minutes before their end.
    #[must_use]
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.token_ttl = ttl;
        self
    }

    /// How often the client makes sure that the hub is there, in whole seconds; 1 s to 1177 s. Default 60 s.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// How long opening a connection, and being let in, may each take. Default 30 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request to the twin may take, with the wait for a connection that is coming back. Default 30 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long [`disconnect`](DeviceClient::disconnect) waits for handlers and acknowledgements. Default 30 s.
    #[must_use]
    pub fn shutdown_timeout(mut self, shutdown_timeout: Duration) -> Self {
        self.shutdown_timeout = shutdown_timeout;
        self
    }

    /// How the client comes back after it lost its connection.
    #[must_use]
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.reconnect = policy;
        self
    }

    /// What becomes of events that cannot be sent at once. Default: a queue of 1024 events and 8 MiB.
    #[must_use]
    pub fn offline(mut self, policy: OfflinePolicy) -> Self {
        self.offline = policy;
        self
    }

    /// How many calls may be worked on at once, 1 to 1024, by handlers and in
    /// [`method_requests`](DeviceClient::method_requests) together. Default 32. One more is answered at once with
    /// status 429 and `{"error":"TooManyCalls","message":…}`.
    #[must_use]
    pub fn max_concurrent_methods(mut self, limit: usize) -> Self {
        self.max_concurrent_methods = limit;
        self
    }

    /// The Plug and Play model of the device, a DTMI.
    #[must_use]
    pub fn model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// The application's name and version, told to the hub behind the SDK's own.
    #[must_use]
    pub fn product_info(mut self, product_info: impl Into<String>) -> Self {
        self.product_info = Some(product_info.into());
        self
    }

    /// Checks everything and makes the client. Nothing is connected yet. Reads the system's certificates, unless
    /// [`root_certificates_only`](Self::root_certificates_only) was given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) says what is wrong;
    /// [`ErrorKind::Tls`](crate::ErrorKind::Tls) that the system trusts nobody.
    pub fn build(self) -> Result<DeviceClient, Error> {
        let (connector, https) = self.endpoints()?;
        self.build_with(Connector::Tls(connector), Some(https))
    }

    pub(crate) fn build_with(
        self,
        connector: Connector,
        https: Option<HttpsEndpoints>,
    ) -> Result<DeviceClient, Error> {
        let device = DeviceId::new(&self.device_id).map_err(|error| invalid_input("the device id", error))?;
        let identity = match &self.module_id {
            None => IdentityId::device(&device),
            Some(module) => {
                let module = ModuleId::new(module).map_err(|error| invalid_input("the module id", error))?;
                IdentityId::module(&device, &module)
            }
        };
        if !(Duration::from_secs(1)..=MAX_KEEP_ALIVE).contains(&self.keep_alive) {
            return Err(Error::invalid_input("keep_alive must be 1 to 1177 seconds"));
        }
        if !(1..=MAX_CONCURRENT_METHODS).contains(&self.max_concurrent_methods) {
            return Err(Error::invalid_input("max_concurrent_methods must be 1 to 1024"));
        }
        if let OfflinePolicy::Queue { max_messages, max_bytes } = self.offline
            && (max_messages == 0 || max_bytes < OfflinePolicy::MIN_BYTES)
        {
            return Err(Error::invalid_input("a queue for events must have room for one of 320 KiB"));
        }
        if self.token_ttl < Duration::from_secs(1) {
            return Err(Error::invalid_input("token_ttl must be at least one second"));
        }
        let credential = match self.secret {
            Secret::Key(key) => {
                let key = SharedAccessKey::from_base64(&key)
                    .map_err(|error| invalid_input("the symmetric key", error))?;
                Credential::Key { key, ttl: self.token_ttl }
            }
            Secret::Sas(credential) => credential,
            Secret::Certificate(_) => Credential::Certificate,
            Secret::None => {
                return Err(Error::invalid_input(
                    "the client has no symmetric key, SAS token or X.509 certificate",
                ));
            }
        };
        Ok(DeviceClient::new(Config {
            connector,
            https,
            host: HostPort::parse(&self.host)?.host,
            identity,
            credential,
            client_type: client_type(self.product_info.as_deref()),
            model_id: self.model_id,
            keep_alive: self.keep_alive,
            connect_timeout: self.connect_timeout,
            reconnect: self.reconnect,
            offline: self.offline,
            request_timeout: self.request_timeout,
            shutdown_timeout: self.shutdown_timeout,
            max_concurrent_methods: self.max_concurrent_methods,
            mqtt: Config::mqtt_config(self.connect_timeout, self.max_concurrent_methods),
        }))
    }

    fn endpoints(&self) -> Result<(MqttConnector, HttpsEndpoints), Error> {
        let host_port = HostPort::parse(self.gateway_host.as_deref().unwrap_or(&self.host))?;
        let server_name = ServerName::try_from(host_port.host.clone())
            .map_err(|error| invalid_input("the host name", error))?;
        // Read once: the system may trust hundreds.
        let roots = root_store(&self.roots)?;
        let identity = match &self.secret {
            Secret::Certificate(identity) => Some(identity),
            _ => None,
        };
        let web_socket = self.transport == Transport::MqttWebSocket;
        let tls_connector = |identity, http| {
            client_config(&roots, identity, http).map(|config| TlsConnector::from(Arc::new(config)))
        };
        let http = tls_connector(identity, true)?;
        let without_client_certificate = tls_connector(None, true)?;
        let mqtt = Endpoint {
            tls: tls_connector(identity, web_socket)?,
            server_name,
            host: host_port.host,
            port: self.port.or(host_port.port).unwrap_or(self.transport.default_port()),
            address: self.address,
        };
        // A WebSocket goes where HTTPS goes.
        let port = self.https_port.or(web_socket.then_some(mqtt.port)).unwrap_or(443);
        let address = self.https_address.or(match self.address {
            Some(address) if web_socket => Some(address),
            address => address.map(|address| SocketAddr::new(address.ip(), port)),
        });
        let hub = Endpoint { tls: http, port, address, ..mqtt.clone() };
        Ok((
            MqttConnector { transport: self.transport, endpoint: mqtt },
            HttpsEndpoints { hub, without_client_certificate },
        ))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("host", &self.host)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

fn invalid_input<E: Into<BoxError> + fmt::Display>(what: &str, error: E) -> Error {
    Error::caused(crate::ErrorKind::InvalidInput, format!("{what}: {error}"), error)
}

/// `ferrohub-device/1.2.3 (linux; x86_64) product`.
fn client_type(product_info: Option<&str>) -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let own = format!("ferrohub-device/{} ({os}; {arch})", env!("CARGO_PKG_VERSION"));
    match product_info {
        None | Some("") => own,
        Some(product_info) => format!("{own} {product_info}"),
    }
}
