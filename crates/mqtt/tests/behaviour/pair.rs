//! A client and a server state machine with a shared virtual clock.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use ferrohub_mqtt::{Connect, ProtocolError, QoS, Refusal, SubscribeCode, Utf8, client, server};

/// Both state machines, the network between them, and a server application that accepts every request.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: client::Connection,
    pub(crate) server: server::Connection,
    pub(crate) client_events: Vec<client::Event>,
    pub(crate) server_events: Vec<server::Event>,
    pub(crate) client_error: Option<ProtocolError>,
    pub(crate) server_error: Option<ProtocolError>,
    /// The refusal that the server application sends for CONNECT, if any.
    pub(crate) refusal: Option<Refusal>,
    /// Whether the network loses all bytes.
    pub(crate) network_down: bool,
    start: Instant,
}

impl Pair {
    pub(crate) fn new(keep_alive: u16) -> Self {
        let now = Instant::now();
        Self {
            now,
            client: open_client(keep_alive, client::Session::default(), now),
            server: server::Connection::new(Arc::default(), now),
            client_events: Vec::new(),
            server_events: Vec::new(),
            client_error: None,
            server_error: None,
            refusal: None,
            network_down: false,
            start: now,
        }
    }

    /// Creates a connected pair with no events left.
    pub(crate) fn connected(keep_alive: u16) -> Self {
        let mut pair = Self::new(keep_alive);
        pair.drive();
        assert!(pair.client.is_connected() && pair.server.is_connected());
        pair.client_events.clear();
        pair.server_events.clear();
        pair
    }

    /// Simulates a reconnect: the client opens a new connection with its session, the server sees a new connection.
    pub(crate) fn reconnect(&mut self, keep_alive: u16) {
        let fresh = open_client(keep_alive, client::Session::default(), self.now);
        let session = mem::replace(&mut self.client, fresh).into_session();
        self.client = open_client(keep_alive, session, self.now);
        self.server = server::Connection::new(Arc::default(), self.now);
        self.network_down = false;
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Transfers bytes and handles events until both ends are idle, without advancing the clock.
    pub(crate) fn drive(&mut self) {
        for _ in 0..1000 {
            if !self.exchange() {
                return;
            }
        }
        panic!("livelock");
    }

    /// Advances the clock to the next time-out of either end. Returns false if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let timeouts = self.client.poll_timeout().into_iter().chain(self.server.poll_timeout());
        let Some(next) = timeouts.min() else {
            return false;
        };
        self.now = self.now.max(next);
        if let Err(error) = self.client.handle_timeout(self.now) {
            self.client_error = Some(error);
        }
        if let Err(error) = self.server.handle_timeout(self.now) {
            self.server_error = Some(error);
        }
        self.drive();
        true
    }

    fn exchange(&mut self) -> bool {
        let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
        self.client.poll_transmit(&mut to_server);
        self.server.poll_transmit(&mut to_client);
        let moved = !to_server.is_empty() || !to_client.is_empty();
        if self.network_down {
            return moved;
        }
        if let Err(error) = self.server.handle_input(&to_server, self.now) {
            self.server_error = Some(error);
        }
        while let Some(event) = self.server.poll_event() {
            self.answer(&event);
            self.server_events.push(event);
        }
        if let Err(error) = self.client.handle_input(&to_client, self.now) {
            self.client_error = Some(error);
        }
        while let Some(event) = self.client.poll_event() {
            self.client_events.push(event);
        }
        moved
    }

    fn answer(&mut self, event: &server::Event) {
        match (event, self.refusal) {
            (server::Event::Connect(_), Some(refusal)) => self.server.reject(refusal),
            (server::Event::Connect(_), None) => self.server.accept(false, self.now).unwrap(),
            (server::Event::Publish(publish), _) => {
                if let Some(packet_id) = publish.packet_id {
                    self.server.puback(packet_id);
                }
            }
            (server::Event::Subscribe(subscribe), _) => {
                // QoS 2 is granted as QoS 1, as IoT Hub does.
                let granted = |qos: QoS| SubscribeCode::Granted(qos.min(QoS::AtLeastOnce));
                let codes: Vec<_> = subscribe.filters.iter().map(|&(_, qos)| granted(qos)).collect();
                self.server.suback(subscribe.packet_id, &codes);
            }
            (server::Event::Unsubscribe(unsubscribe), _) => self.server.unsuback(unsubscribe.packet_id),
            (server::Event::PubAck(_) | server::Event::Disconnect, _) => {}
        }
    }
}

fn open_client(keep_alive: u16, session: client::Session, now: Instant) -> client::Connection {
    let connect = Connect { client_id: Utf8::try_from("d1").unwrap(), keep_alive, ..Connect::default() };
    client::Connection::connect(Arc::default(), &connect, session, now).unwrap()
}
