//! The builder of a client.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::connection_string::{DeviceConnectionString, DeviceCredential};
use ferrohub_model::{DeviceId, HostPort, IdentityId, ModuleId, SharedAccessKey};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::client::DeviceClient;
use crate::config::Config;
use crate::credential::{Credential, TokenCredential};
use crate::error::{BoxError, Error};
use crate::https::HttpsEndpoints;
use crate::retry::RetryPolicy;
use crate::telemetry::OfflinePolicy;
use crate::transport::{
    ClientCertificate, Connector, Endpoint, MqttConnector, RootCertificates, Transport, client_config,
    root_store,
};

/// The longest keep-alive. IoT Hub tolerates a silence of one and a half times the keep-alive, up to a limit that this
/// value respects.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1177);
/// The highest limit of concurrent calls: each response needs a packet identifier.
const MAX_CONCURRENT_METHODS: usize = 1024;

/// Builds a [`DeviceClient`]; from [`DeviceClient::builder`] or [`DeviceClient::builder_from_connection_string`].
/// [`build`](Self::build) checks all settings.
#[must_use]
pub struct Builder {
    host: String,
    device_id: String,
    module_id: Option<String>,
    gateway_host: Option<String>,
    secret: Secret,
    root_certificates: RootCertificates,
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
    retry: RetryPolicy,
    offline: OfflinePolicy,
    max_concurrent_methods: usize,
    model_id: Option<String>,
    product_info: Option<String>,
}

/// How the device authenticates; not checked yet.
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
            root_certificates: RootCertificates::default(),
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
            retry: RetryPolicy::default(),
            offline: OfflinePolicy::default(),
            max_concurrent_methods: 32,
            model_id: None,
            product_info: None,
        }
    }

    pub(crate) fn from_connection_string(text: &str) -> Result<Self, Error> {
        let parsed: DeviceConnectionString =
            text.parse().map_err(|error| Error::invalid_input(format!("{error}")).with_source(error))?;
        let mut builder = Self::new(&parsed.host_name, parsed.identity.device_str());
        builder.module_id = parsed.identity.module_str().map(str::to_owned);
        builder.gateway_host = parsed.gateway_host_name;
        builder.secret = match parsed.credential {
            DeviceCredential::Key(key) => Secret::Key(key.to_base64()),
            DeviceCredential::Signature(token) => Secret::Sas(Credential::Token(token)),
            // `x509` sets the certificate.
            DeviceCredential::X509 => Secret::None,
        };
        Ok(builder)
    }

    /// Authenticates with this key of the device or module, in base64, as the registry shows it. The client signs
    /// tokens with it.
    pub fn symmetric_key(mut self, key: impl Into<String>) -> Self {
        self.secret = Secret::Key(key.into());
        self
    }

    /// Authenticates with this SAS token. It cannot be renewed: when it expires, the hub closes the connection and the
    /// client ends with [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized).
    pub fn sas_token(mut self, token: impl Into<String>) -> Self {
        self.secret = Secret::Sas(Credential::Token(token.into()));
        self
    }

    /// Authenticates with tokens of a credential, such as a security module; [`token_fn`](crate::token_fn) makes one of
    /// a function. The client asks it for a token for each connection and before a token expires.
    pub fn token_credential(mut self, credential: impl TokenCredential + 'static) -> Self {
        self.secret = Secret::Sas(Credential::Custom(Arc::new(credential)));
        self
    }

    /// Authenticates with a certificate chain (the device certificate first) and its private key without a password.
    /// Both are PEM texts, not paths.
    pub fn x509(mut self, certificates_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.secret = Secret::Certificate(ClientCertificate {
            certificates: certificates_pem.into(),
            key: key_pem.into(),
        });
        self
    }

    /// Makes the client a module of the device.
    pub fn module(mut self, module_id: impl Into<String>) -> Self {
        self.module_id = Some(module_id.into());
        self
    }

    /// Connects to a gateway instead of the hub. The certificate of the gateway must match this host name. Tokens still
    /// name the hub.
    pub fn gateway_host(mut self, host: impl Into<String>) -> Self {
        self.gateway_host = Some(host.into());
        self
    }

    /// Trusts the certificate authorities in this PEM text and no others: replaces those of the system. May be called
    /// several times. `SSL_CERT_FILE` in the environment replaces the system's, too.
    pub fn root_certificates_only(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.system = false;
        self.root_certificates.pem.push(pem.into());
        self
    }

    /// Trusts the certificate authorities in this PEM text, in addition to those of the system. May be called several
    /// times.
    pub fn additional_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.pem.push(pem.into());
        self
    }

    /// Sets the transport of MQTT. Default [`Transport::Mqtt`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the MQTT port, which otherwise is that of the host name, or the default of the transport: 8883, or 443 for
    /// WebSockets.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Connects to this address and port instead of resolving the host name. The certificate of the hub must still
    /// match the host name. For tests, and for networks without DNS.
    pub fn connect_to(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the port for HTTPS, that is for files, [method calls](DeviceClient::invoke_method) and
    /// [`receive_message`](DeviceClient::receive_message). Default: 443, or the port of the WebSocket with
    /// [`Transport::MqttWebSocket`].
    pub fn https_port(mut self, port: u16) -> Self {
        self.https_port = Some(port);
        self
    }

    /// Connects to this address and port for HTTPS. Default: the address of [`connect_to`](Self::connect_to), if it is
    /// set, with the port for HTTPS.
    pub fn https_connect_to(mut self, address: SocketAddr) -> Self {
        self.https_address = Some(address);
        self
    }

    /// Sets the lifetime of signed tokens, at least one second. Default one hour. They are renewed after 85 % of it,
    /// but no earlier than two minutes before they expire.
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.token_ttl = ttl;
        self
    }

    /// Sets the MQTT keep-alive, 1 s to 1177 s. A fraction of a second is cut off. Default 60 s.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets the time limit for each step of a connect: the token, TCP with TLS, and the MQTT handshake. Default 30 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the time limit of a request to the twin or over HTTPS, including the wait for a reconnect. Default 30 s. A
    /// method call has its own time-outs in addition.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long [`disconnect`](DeviceClient::disconnect) waits for handlers and acknowledgements. Default 30 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Sets how the client reconnects, and the delays before it repeats failed parts of an upload.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets what happens to events that cannot be sent at once. Default: a queue of 1024 events and 8 MiB.
    pub fn offline(mut self, policy: OfflinePolicy) -> Self {
        self.offline = policy;
        self
    }

    /// Sets the limit of concurrent method calls, 1 to 1024, for handlers and
    /// [`method_requests`](DeviceClient::method_requests) together. Default 32. Further calls get a response with
    /// status 429 and `{"error":"TooManyCalls","message":…}`.
    pub fn max_concurrent_methods(mut self, limit: usize) -> Self {
        self.max_concurrent_methods = limit;
        self
    }

    /// Sets the Plug and Play model of the device, a DTMI.
    pub fn model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// Sets name and version of the application. The hub receives them after those of the SDK.
    pub fn product_info(mut self, product_info: impl Into<String>) -> Self {
        self.product_info = Some(product_info.into());
        self
    }

    /// Checks the settings and builds the client. Nothing is sent. Reads the system's certificates, unless
    /// [`root_certificates_only`](Self::root_certificates_only) was called.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid setting;
    /// [`ErrorKind::Tls`](crate::ErrorKind::Tls) if the system has no trusted certificates and none are given.
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
            return Err(Error::invalid_input(
                "OfflinePolicy::queue needs at least 1 message and 327680 bytes (320 KiB)",
            ));
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
                    "the client has no credential; call symmetric_key, sas_token, token_credential or x509",
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
            retry: self.retry,
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
        // Read once: the system may have hundreds.
        let roots = root_store(&self.root_certificates)?;
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
        // The WebSocket and HTTPS have the same port.
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
    Error::invalid_input(format!("{what}: {error}")).with_source(error)
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
