//! A TLS connection for arbitrary bytes, which no real client would send.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::Hub;
use crate::certificate::CertificateFiles;

/// Read and write time-out.
const LIMIT: Duration = Duration::from_secs(20);

/// A TLS connection to the hub.
pub struct RawTls(StreamOwned<ClientConnection, TcpStream>);

impl RawTls {
    /// Connects to the hub's MQTT listener.
    #[must_use]
    #[track_caller]
    pub fn mqtt(hub: &Hub) -> Self {
        Self::connect(hub, 8883, &[])
    }

    /// Connects to the hub's AMQP listener.
    #[must_use]
    #[track_caller]
    pub fn amqp(hub: &Hub) -> Self {
        Self::connect(hub, 5671, &[])
    }

    /// Connects to the hub's HTTPS listener.
    #[must_use]
    #[track_caller]
    pub fn https(hub: &Hub) -> Self {
        Self::connect(hub, 443, &[])
    }

    /// Connects to the hub's HTTPS listener and negotiates HTTP/2 in the handshake.
    #[must_use]
    #[track_caller]
    pub fn http2(hub: &Hub) -> Self {
        let connection = Self::connect(hub, 443, &[b"h2"]);
        assert_eq!(connection.0.conn.alpn_protocol(), Some(&b"h2"[..]), "the hub negotiates HTTP/2");
        connection
    }

    /// Connects to the hub's HTTPS listener and upgrades the connection to WebSocket.
    #[must_use]
    #[track_caller]
    pub fn websocket(hub: &Hub) -> Self {
        let mut peer = Self::https(hub);
        peer.upgrade(hub);
        peer
    }

    /// Upgrades an HTTP/1.1 connection to WebSocket.
    #[track_caller]
    pub fn upgrade(&mut self, hub: &Hub) {
        let head = self.try_upgrade(hub, "/$iothub/websocket", "mqtt");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    }

    /// Asks for WebSocket at a path, and returns the head of the response. `subprotocols` is the list that is offered.
    #[track_caller]
    pub fn try_upgrade(&mut self, hub: &Hub, path: &str, subprotocols: &str) -> String {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {subprotocols}\r\n\r\n",
            hub.name()
        );
        self.send(request.as_bytes());
        self.read_until("\r\n\r\n")
    }

    #[track_caller]
    fn connect(hub: &Hub, port: u16, protocols: &[&[u8]]) -> Self {
        TlsClient::new(hub, None, protocols).connect(port)
    }

    /// Returns whether the session was resumed, so that no certificate was exchanged.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Returns the certificate that the hub presented, DER.
    #[must_use]
    #[track_caller]
    pub fn server_certificate(&self) -> Vec<u8> {
        let chain = self.0.conn.peer_certificates().expect("a certificate of the hub");
        chain.first().expect("a leaf").to_vec()
    }

    /// Sends bytes. Write errors are ignored, because the hub may already have closed the connection; the bytes it sent
    /// can still be read with [`RawTls::read_to_end`].
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }

    /// Sends close_notify and closes the sending half of the socket.
    pub fn shutdown(&mut self) {
        self.0.conn.send_close_notify();
        let _ = self.0.flush();
        let _ = self.0.sock.shutdown(std::net::Shutdown::Write);
    }

    /// Reads exactly `count` bytes.
    #[track_caller]
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("more bytes from the hub");
        bytes
    }

    /// Reads what there is, at least one byte; `None` at the end of the connection.
    ///
    /// # Panics
    /// If the hub sends nothing within the time-out.
    #[track_caller]
    pub fn read_some(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        match self.0.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                buffer.truncate(count);
                Some(buffer)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the hub sends nothing")
            }
            Err(_) => None,
        }
    }

    /// Reads until the received bytes contain `text`.
    ///
    /// # Panics
    /// If the hub closes the connection or the time-out elapses first.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let received = String::from_utf8_lossy(&bytes);
            if received.contains(text) {
                return received.into_owned();
            }
            let count = self.0.read(&mut buffer).expect("more bytes from the hub");
            assert!(count > 0, "the hub closed the connection after: {received}");
            bytes.extend(&buffer[..count]);
        }
    }

    /// Reads until the hub closes the connection.
    ///
    /// # Panics
    /// If it does not within the time-out.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend(&buffer[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("the hub did not close the connection; received so far: {bytes:?}")
                }
                // Reset: the hub closed the connection with unread bytes.
                Err(_) => return bytes,
            }
        }
    }
}

/// A client that resumes its TLS session when it connects again.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    ip: IpAddr,
}

impl TlsClient {
    /// Creates a client with the certificate of a device.
    #[must_use]
    #[track_caller]
    pub fn with_certificate(hub: &Hub, files: &CertificateFiles) -> Self {
        Self::new(hub, Some(files), &[])
    }

    #[track_caller]
    fn new(hub: &Hub, files: Option<&CertificateFiles>, protocols: &[&[u8]]) -> Self {
        let ip: IpAddr = hub.name().parse().expect("the hub has its own IP address");
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(hub.variable("SSL_CERT_FILE")).expect("the hub's CA");
        roots.add(ca).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match files {
            None => config.with_no_client_auth(),
            Some(files) => {
                let chain = CertificateDer::pem_file_iter(&files.certificate).expect("a certificate file");
                let chain = chain.collect::<Result<_, _>>().expect("certificates");
                let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
                config.with_client_auth_cert(chain, key).expect("a certificate with its key")
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Self { config: Arc::new(config), ip }
    }

    /// Connects to this port of the hub.
    #[must_use]
    #[track_caller]
    pub fn connect(&self, port: u16) -> RawTls {
        let stream = TcpStream::connect(SocketAddr::new(self.ip, port)).expect("the hub listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        stream.set_write_timeout(Some(LIMIT)).expect("a time limit");
        stream.set_nodelay(true).expect("no delay");
        let connection = ClientConnection::new(self.config.clone(), ServerName::from(self.ip));
        let mut tls = StreamOwned::new(connection.expect("a TLS client"), stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).expect("the TLS handshake");
        }
        RawTls(tls)
    }
}

/// Encodes an MQTT CONNECT packet with clean session 0.
#[must_use]
pub fn connect_packet(client_id: &str, username: &str, password: &str, keep_alive: u16) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0000];
    body.extend(keep_alive.to_be_bytes());
    for text in [client_id, username, password] {
        body.extend(u16::try_from(text.len()).expect("a short text").to_be_bytes());
        body.extend(text.as_bytes());
    }
    packet(0x10, &body)
}

/// Encodes an MQTT packet: first byte, Remaining Length, body.
#[must_use]
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let digit = u8::try_from(left % 128).expect("seven bits");
        left /= 128;
        bytes.push(if left > 0 { digit | 128 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// Encodes a WebSocket frame of a client, whose mask is zero.
#[must_use]
pub fn websocket_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | 127];
    bytes.extend((payload.len() as u64).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
