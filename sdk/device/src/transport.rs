//! A byte stream to the hub: TCP, TLS, and optionally a WebSocket.

mod tls;
mod websocket;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, ErrorKind};

use tls::is_tls_error;
pub(crate) use tls::{ClientCertificate, RootCertificates, client_config, root_store};

/// The transport of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// MQTT over TLS, port 8883.
    #[default]
    Mqtt,
    /// MQTT in a WebSocket over TLS, port 443. For networks that allow HTTPS only.
    MqttWebSocket,
}

impl Transport {
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 8883,
            Self::MqttWebSocket => 443,
        }
    }
}

/// A bidirectional byte stream.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}
pub(crate) type BoxStream = Box<dyn ByteStream>;

/// Opens connections to one hub.
#[derive(Clone)]
pub(crate) enum Connector {
    Tls(MqttConnector),
    /// A hub inside the test, without TLS.
    #[cfg(test)]
    Test(
        std::sync::Arc<
            dyn Fn() -> futures_util::future::BoxFuture<'static, io::Result<BoxStream>> + Send + Sync,
        >,
    ),
}

#[derive(Clone)]
pub(crate) struct MqttConnector {
    pub(crate) transport: Transport,
    pub(crate) endpoint: Endpoint,
}

/// A TLS endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) tls: TlsConnector,
    /// The name that the certificate of the peer must match.
    pub(crate) server_name: ServerName<'static>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The address to connect to instead of resolving `host`.
    pub(crate) address: Option<SocketAddr>,
}

impl Connector {
    pub(crate) async fn connect(&self) -> Result<BoxStream, Error> {
        match self {
            Self::Tls(connector) => connector.connect().await,
            #[cfg(test)]
            Self::Test(connect) => {
                connect().await.map_err(|error| connect_error(&"the hub in the test", error))
            }
        }
    }
}

impl MqttConnector {
    async fn connect(&self) -> Result<BoxStream, Error> {
        let stream = self.endpoint.open().await?;
        match self.transport {
            Transport::Mqtt => Ok(Box::new(stream)),
            Transport::MqttWebSocket => websocket::open(&self.endpoint.authority(443), stream).await,
        }
    }
}

impl Endpoint {
    pub(crate) async fn open(&self) -> Result<TlsStream<TcpStream>, Error> {
        let tcp = match self.address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((self.host.as_str(), self.port)).await,
        };
        let tcp = tcp.map_err(|error| connect_error(&format_args!("{}:{}", self.host, self.port), error))?;
        // Requests and responses are small; Nagle's algorithm would delay them.
        tcp.set_nodelay(true).map_err(|error| connect_error(&self.host, error))?;
        self.tls
            .connect(self.server_name.clone(), tcp)
            .await
            .map_err(|error| stream_error(error, "the TLS handshake failed"))
    }

    /// Returns host and port for a URL; the port only if it is not `default_port`.
    pub(crate) fn authority(&self, default_port: u16) -> String {
        let (host, port) = (&self.host, self.port);
        match (host.contains(':'), port == default_port) {
            (false, true) => host.clone(),
            (false, false) => format!("{host}:{port}"),
            (true, true) => format!("[{host}]"),
            (true, false) => format!("[{host}]:{port}"),
        }
    }
}

fn connect_error(to: &dyn fmt::Display, error: io::Error) -> Error {
    Error::new(ErrorKind::Connection, format!("cannot connect to {to}: {error}")).with_source(error)
}

/// Distinguishes a TLS failure, which may also follow the handshake, from a lost connection.
pub(crate) fn stream_error(error: io::Error, message: &str) -> Error {
    let kind = if is_tls_error(&error) { ErrorKind::Tls } else { ErrorKind::Connection };
    Error::new(kind, format!("{message}: {error}")).with_source(error)
}
