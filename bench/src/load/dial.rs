//! Client connections, from many loopback addresses, so that local ports do not run out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Number of loopback addresses that clients use in turn; servers listen on 127.0.0.1.
const SOURCES: u32 = 32;

/// Address and TLS configuration for one listener.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
}

impl Dial {
    pub(crate) async fn tcp(&self) -> anyhow::Result<TcpStream> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let source = 2 + NEXT.fetch_add(1, Ordering::Relaxed) % SOURCES;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(Ipv4Addr::new(127, 0, 0, source as u8).into(), 0))?;
        let stream = socket.connect(self.address).await.context("the TCP connect failed")?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub(crate) async fn tls(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        self.handshake(self.tcp().await?).await
    }

    pub(crate) async fn handshake(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost")?;
        TlsConnector::from(self.tls.clone()).connect(name, stream).await.context("the TLS handshake failed")
    }
}
