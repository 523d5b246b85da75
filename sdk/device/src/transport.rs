//! A stream of bytes to the hub: TCP, TLS, and a WebSocket where one is asked for.

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

pub(crate) use tls::{ClientCertificate, RootCertificates, client_config, root_store};

/// How MQTT travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// MQTT over TLS, port 8883.
    #[default]
    Mqtt,
    /// MQTT in a WebSocket over TLS, port 443, where a firewall lets nothing else through.
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

/// Bytes both ways.
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

/// Where TLS is spoken.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) tls: TlsConnector,
    /// What the hub's certificate must be good for.
    pub(crate) server_name: ServerName<'static>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Where to connect instead of to what `host` resolves to.
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
        // Requests and answers are small and wait for each other.
        tcp.set_nodelay(true).map_err(|error| connect_error(&self.host, error))?;
        self.tls
            .connect(self.server_name.clone(), tcp)
            .await
            .map_err(|error| stream_error(error, "the TLS handshake failed"))
    }

    /// Host and port as they stand in a URL; the port only if it is not `usual`.
    pub(crate) fn authority(&self, usual: u16) -> String {
        let (host, port) = (&self.host, self.port);
        match (host.contains(':'), port == usual) {
            (false, true) => host.clone(),
            (false, false) => format!("{host}:{port}"),
            (true, true) => format!("[{host}]"),
            (true, false) => format!("[{host}]:{port}"),
        }
    }
}

fn connect_error(to: &dyn fmt::Display, error: io::Error) -> Error {
    Error::caused(ErrorKind::Connection, format!("cannot connect to {to}: {error}"), error)
}

/// Tells a refusal by TLS, which may also come after the handshake, from a connection that ended.
pub(crate) fn stream_error(error: io::Error, message: &str) -> Error {
    let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    let kind = if tls { ErrorKind::Tls } else { ErrorKind::Connection };
    Error::caused(kind, format!("{message}: {error}"), error)
}
