//! TLS and WebSockets, over real sockets, with a certificate authority made for the test.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use ferrohub_mqtt::server::{Config, Connection, Event};
use ferrohub_mqtt::{QoS, SubscribeCode};
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::fake_hub::{KEY, connecting};
use crate::{Builder, DeviceClient, ErrorKind, Transport};

pub(super) struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A hub of that name, which requires client certificates or accepts any client.
    pub(super) async fn hub(&self, name: &str, client_certificates: bool) -> Hub {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if client_certificates {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.issue(name);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Hub { listener, tls: TlsAcceptor::from(Arc::new(config)) }
    }

    pub(super) fn builder(&self, host: &str, address: SocketAddr) -> Builder {
        DeviceClient::builder(host, "d1")
            .symmetric_key(KEY)
            .root_certificates_only(self.issuer.pem())
            .connect_to(address)
    }
}

pub(super) struct Hub {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Hub {
    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(super) async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (tcp, _) = self.listener.accept().await?;
        self.tls.accept(tcp).await
    }
}

/// Accepts CONNECT and SUBSCRIBE. Returns the response to this input, and the CONNECT.
fn react(machine: &mut Connection, input: &[u8]) -> (BytesMut, Option<Box<ferrohub_mqtt::Connect>>) {
    let now = std::time::Instant::now();
    machine.handle_input(input, now).unwrap();
    let mut connected = None;
    while let Some(event) = machine.poll_event() {
        match event {
            Event::Connect(connect) => {
                machine.accept(false, now).unwrap();
                connected = Some(connect);
            }
            Event::Subscribe(s) => machine.suback(s.packet_id, &[SubscribeCode::Granted(QoS::AtMostOnce)]),
            event => panic!("{event:?}"),
        }
    }
    let mut out = BytesMut::new();
    machine.poll_transmit(&mut out);
    (out, connected)
}

fn machine() -> Connection {
    Connection::new(Arc::new(Config::default()), std::time::Instant::now())
}

#[tokio::test]
async fn a_device_certificate_replaces_the_token() {
    let authority = TestCa::new();
    let hub = authority.hub("hub.test", true).await;
    let (certificate, key) = authority.issue("d1");
    let client = authority
        .builder("hub.test", hub.address())
        .x509(certificate.pem(), key.serialize_pem())
        .build()
        .unwrap();
    let connecting = connecting(&client);
    let mut stream = hub.accept().await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], *certificate.der());
    let (mut machine, mut connect) = (machine(), None);
    while !connecting.is_finished() {
        let mut buffer = [0; 1024];
        let read = tokio::time::timeout(std::time::Duration::from_millis(50), stream.read(&mut buffer)).await;
        let Ok(count) = read else { continue };
        let (out, connected) = react(&mut machine, &buffer[..count.unwrap()]);
        connect = connect.or(connected);
        stream.write_all(&out).await.unwrap();
    }
    connecting.await.unwrap().unwrap();
    assert!(connect.unwrap().password.is_none());
}

#[tokio::test]
async fn missing_trust_on_either_side_is_a_tls_error() {
    let authority = TestCa::new();
    let hub = authority.hub("hub.test", true).await;
    let serving = tokio::spawn(async move {
        let address = hub.address();
        (0..3).for_each(drop);
        (address, hub)
    });
    let (address, hub) = serving.await.unwrap();
    let hub = tokio::spawn(async move {
        for _ in 0..3 {
            assert!(hub.accept().await.is_err());
        }
    });
    let stranger = TestCa::new();
    for builder in [
        stranger.builder("hub.test", address),
        authority.builder("other.test", address),
        // No certificate: TLS 1.3 reports it only after the handshake.
        authority.builder("hub.test", address),
    ] {
        let error = builder.build().unwrap().connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(!error.is_retryable());
    }
    hub.await.unwrap();
}

#[tokio::test]
#[allow(clippy::result_large_err)] // The callback's type is the WebSocket library's.
async fn mqtt_may_be_split_into_any_binary_messages() {
    let authority = TestCa::new();
    let hub = authority.hub("hub.test", false).await;
    let client =
        authority.builder("hub.test", hub.address()).transport(Transport::MqttWebSocket).build().unwrap();
    let connecting = connecting(&client);
    let stream = hub.accept().await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let check = |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/$iothub/websocket");
        assert_eq!(request.headers()["host"], "hub.test");
        assert_eq!(request.headers()["sec-websocket-protocol"], "mqtt");
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap();
    let mut machine = machine();
    while !connecting.is_finished() {
        let next = tokio::time::timeout(std::time::Duration::from_millis(50), socket.next()).await;
        let Ok(message) = next else { continue };
        let message = message.unwrap().unwrap();
        assert!(message.is_binary());
        let (out, _) = react(&mut machine, &message.into_data());
        for byte in out {
            socket.send(Message::binary(vec![byte])).await.unwrap();
        }
    }
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hub_without_websockets_is_a_protocol_error() {
    let authority = TestCa::new();
    let hub = authority.hub("hub.test", false).await;
    let client =
        authority.builder("hub.test", hub.address()).transport(Transport::MqttWebSocket).build().unwrap();
    let connecting = connecting(&client);
    let mut stream = hub.accept().await.unwrap();
    stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}
