//! A hub that the test controls.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ferrohub_model::topic;
use ferrohub_mqtt::server::{Config, Connection, Event};
use ferrohub_mqtt::{Connect, PacketId, Publish, QoS, Refusal, SubscribeCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::transport::{BoxStream, Connector};
use crate::{Builder, DeviceClient, Error};

pub(super) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The listening side.
pub(super) struct FakeHub {
    incoming: mpsc::Receiver<DuplexStream>,
    connector: Connector,
}

/// One connection of a client.
pub(super) struct Peer {
    stream: DuplexStream,
    machine: Connection,
}

/// A method response, as received by the hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReceivedResponse {
    pub(super) status: i32,
    pub(super) request_id: String,
    pub(super) payload: String,
    pub(super) dup: bool,
    pub(super) packet_id: Option<PacketId>,
}

/// An event, as received by the hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReceivedEvent {
    pub(super) topic: String,
    pub(super) body: String,
    pub(super) dup: bool,
    pub(super) packet_id: Option<PacketId>,
}

/// A twin request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReceivedTwinRequest {
    pub(super) request_id: String,
    pub(super) if_version: Option<u64>,
    /// The patch of a report; `None` for a read.
    pub(super) patch: Option<String>,
}

/// Fails instead of waiting for ever; the limit is longer than any test.
pub(super) async fn within_limit<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10_000), future).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

impl FakeHub {
    pub(super) fn new() -> Self {
        let (sender, incoming) = mpsc::channel::<DuplexStream>(16);
        let connector = Connector::Test(Arc::new(move || {
            let sender = sender.clone();
            Box::pin(async move {
                let (near, far) = duplex(64 * 1024);
                let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
                sender.send(far).await.map_err(refused)?;
                Ok(Box::new(near) as BoxStream)
            })
        }));
        Self { incoming, connector }
    }

    pub(super) fn client(&self) -> DeviceClient {
        self.client_with(|builder| builder)
    }

    /// A client that subscribes to method calls.
    pub(super) fn client_with(&self, change: impl FnOnce(Builder) -> Builder) -> DeviceClient {
        let client = self.client_without_methods(change);
        client.on_method("unused", |_| async { crate::MethodResponse::new(200) });
        client
    }

    pub(super) fn client_without_methods(&self, change: impl FnOnce(Builder) -> Builder) -> DeviceClient {
        let builder = change(DeviceClient::builder("hub.test", "d1").symmetric_key(KEY));
        builder.build_with(self.connector.clone(), None).unwrap()
    }

    /// The next connection, before CONNECT.
    pub(super) async fn incoming(&mut self) -> Peer {
        let stream = within_limit("a connection", self.incoming.recv()).await.unwrap();
        let config = Config { max_in_flight: 256, ..Config::default() };
        Peer { stream, machine: Connection::new(Arc::new(config), Instant::now().into_std()) }
    }

    /// The next connection and its CONNECT.
    pub(super) async fn connect(&mut self) -> (Peer, Box<Connect>) {
        let mut peer = self.incoming().await;
        match peer.next().await {
            Event::Connect(connect) => (peer, connect),
            event => panic!("{event:?}"),
        }
    }

    /// Accepts the next connection, which must then subscribe.
    pub(super) async fn serve(&mut self) -> Peer {
        let (mut peer, _) = self.connect().await;
        peer.accept(false).await;
        peer.take_subscribe().await;
        peer
    }

    pub(super) async fn refuse(&mut self, refusal: Refusal) {
        let (mut peer, _) = self.connect().await;
        peer.machine.reject(refusal);
        peer.flush().await;
    }

    /// A client that is connected.
    pub(super) async fn connected(&mut self, client: &DeviceClient) -> Peer {
        let connecting = connecting(client);
        let peer = self.serve().await;
        connecting.await.unwrap().unwrap();
        peer
    }

    /// Returns whether no client connects for this long.
    pub(super) async fn has_no_connection_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.incoming.recv()).await.is_err()
    }
}

pub(super) fn connecting(client: &DeviceClient) -> JoinHandle<Result<(), Error>> {
    let client = client.clone();
    tokio::spawn(async move { client.connect().await })
}

impl Peer {
    pub(super) async fn accept(&mut self, session_present: bool) {
        self.machine.accept(session_present, Instant::now().into_std()).unwrap();
        self.flush().await;
    }

    pub(super) async fn take_subscribe(&mut self) {
        self.take_subscribe_to(&[topic::METHODS_FILTER]).await;
    }

    /// The next packet, which must be SUBSCRIBE to these.
    pub(super) async fn take_subscribe_to(&mut self, filters: &[&str]) {
        self.answer_subscribe(filters, SubscribeCode::Granted).await;
    }

    pub(super) async fn refuse_subscribe_to(&mut self, filters: &[&str]) {
        self.answer_subscribe(filters, |_| SubscribeCode::Failure).await;
    }

    async fn answer_subscribe(&mut self, filters: &[&str], answer: impl Fn(QoS) -> SubscribeCode) {
        match self.next().await {
            Event::Subscribe(subscribe) => {
                let asked: Vec<&str> = subscribe.filters.iter().map(|(filter, _)| filter.as_str()).collect();
                assert_eq!(asked, filters);
                let codes: Vec<_> = subscribe.filters.iter().map(|(_, qos)| answer(*qos)).collect();
                self.machine.suback(subscribe.packet_id, &codes);
                self.flush().await;
            }
            event => panic!("{event:?}"),
        }
    }

    /// The next event, not acknowledged.
    pub(super) async fn event(&mut self) -> ReceivedEvent {
        match self.next().await {
            Event::Publish(publish) => ReceivedEvent {
                topic: publish.topic.as_str().to_owned(),
                body: String::from_utf8(publish.payload.to_vec()).unwrap(),
                dup: publish.dup,
                packet_id: publish.packet_id,
            },
            event => panic!("{event:?}"),
        }
    }

    /// The next event, acknowledged.
    pub(super) async fn take_event(&mut self) -> ReceivedEvent {
        let sent = self.event().await;
        self.acknowledge(sent.packet_id).await;
        sent
    }

    /// The next request to the twin.
    pub(super) async fn twin_request(&mut self) -> ReceivedTwinRequest {
        match self.next().await {
            Event::Publish(publish) => {
                let (request_id, if_version, report) = match topic::parse_twin_request(publish.topic.as_str())
                    .unwrap()
                {
                    topic::TwinRequest::Get { request_id } => (request_id, None, false),
                    topic::TwinRequest::Report { request_id, if_version } => (request_id, if_version, true),
                    invalid => panic!("{invalid:?}"),
                };
                let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                ReceivedTwinRequest {
                    request_id: request_id.to_owned(),
                    if_version,
                    patch: report.then_some(payload),
                }
            }
            event => panic!("{event:?}"),
        }
    }

    pub(super) async fn respond_twin(
        &mut self,
        asked: &ReceivedTwinRequest,
        status: u16,
        version: Option<u64>,
        payload: &str,
    ) {
        let topic = topic::TwinResponse { status, request_id: &asked.request_id, version };
        self.send(topic, QoS::AtMostOnce, payload).await;
    }

    /// Expects a read of the twin, and responds with these desired properties.
    pub(super) async fn expect_twin_read(&mut self, desired: &str) {
        let asked = self.twin_request().await;
        assert_eq!(asked.patch, None);
        let twin = format!(r#"{{"desired":{desired},"reported":{{"$version":1}}}}"#);
        self.respond_twin(&asked, 200, None, &twin).await;
    }

    pub(super) async fn desired(&mut self, version: u64, patch: &str) {
        self.send(topic::DesiredPatchTopic { version }, QoS::AtMostOnce, patch).await;
    }

    pub(super) async fn send(
        &mut self,
        topic: impl std::fmt::Display,
        qos: QoS,
        payload: &str,
    ) -> Option<PacketId> {
        let packet_id = self.machine.publish(topic, qos, payload.as_bytes()).unwrap();
        self.flush().await;
        packet_id
    }

    pub(super) async fn take_unsubscribe(&mut self) {
        match self.next().await {
            Event::Unsubscribe(unsubscribe) => {
                self.machine.unsuback(unsubscribe.packet_id);
                self.flush().await;
            }
            event => panic!("{event:?}"),
        }
    }

    /// The next event of the client. Responds to pings.
    pub(super) async fn next(&mut self) -> Event {
        self.try_next().await.expect("the client closed the connection")
    }

    /// `None` when the client has closed the connection.
    pub(super) async fn try_next(&mut self) -> Option<Event> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(event) = self.machine.poll_event() {
                return Some(event);
            }
            self.flush().await;
            let count = within_limit("a packet", self.stream.read(&mut buffer)).await.unwrap();
            if count == 0 {
                return None;
            }
            self.machine.handle_input(&buffer[..count], Instant::now().into_std()).unwrap();
        }
    }

    /// Returns whether the client sends no event for this long.
    pub(super) async fn is_quiet_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.try_next()).await.is_err()
    }

    pub(super) async fn call(&mut self, request_id: &str, name: &str, payload: &str) {
        let topic = topic::MethodRequest { name, request_id: &request_id };
        self.machine.publish(topic, QoS::AtMostOnce, payload.as_bytes()).unwrap();
        self.flush().await;
    }

    pub(super) async fn call_at_least_once(&mut self, request_id: &str, name: &str) {
        let topic = topic::MethodRequest { name, request_id: &request_id };
        self.machine.publish(topic, QoS::AtLeastOnce, b"null").unwrap();
        self.flush().await;
    }

    /// The next response, acknowledged.
    pub(super) async fn next_response(&mut self) -> ReceivedResponse {
        let answered = self.next_response_without_puback().await;
        if let Some(packet_id) = answered.packet_id {
            self.machine.puback(packet_id);
            self.flush().await;
        }
        answered
    }

    pub(super) async fn next_response_without_puback(&mut self) -> ReceivedResponse {
        loop {
            match self.next().await {
                Event::Publish(publish) => return ReceivedResponse::read(&publish),
                Event::PubAck(_) => {}
                event => panic!("{event:?}"),
            }
        }
    }

    pub(super) async fn acknowledge(&mut self, packet_id: Option<PacketId>) {
        self.machine.puback(packet_id.unwrap());
        self.flush().await;
    }

    pub(super) async fn unsuback(&mut self, packet_id: PacketId) {
        self.machine.unsuback(packet_id);
        self.flush().await;
    }

    pub(super) async fn suback(&mut self, packet_id: PacketId) {
        self.machine.suback(packet_id, &[SubscribeCode::Granted(QoS::AtMostOnce)]);
        self.flush().await;
    }

    pub(super) async fn flush(&mut self) {
        let mut out = BytesMut::new();
        self.machine.poll_transmit(&mut out);
        // Fails if the client has closed the connection.
        let _ = self.stream.write_all(&out).await;
    }
}

impl ReceivedResponse {
    fn read(publish: &Publish) -> Self {
        let (status, request_id) = topic::parse_method_response(publish.topic.as_str()).unwrap();
        Self {
            status: status.unwrap(),
            request_id: request_id.to_owned(),
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            dup: publish.dup,
            packet_id: publish.packet_id,
        }
    }

    pub(super) fn is(&self, request_id: &str, status: i32, payload: &str) -> bool {
        (self.request_id.as_str(), self.status, self.payload.as_str()) == (request_id, status, payload)
    }
}
