//! A client and a server with a shared virtual clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use ferrohub_amqp::{
    Config, Connection, Credentials, Event, Grant, LinkId, ProtocolError, SendError, SessionId, Unsettled,
    performative::{AmqpError, Attach, DeliveryState, Role, SaslCode, Source, Target},
};

/// Both connections, the network between them, and a server application.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Connection,
    pub(crate) server: Connection,
    pub(crate) client_events: Vec<Event>,
    pub(crate) server_events: Vec<Event>,
    pub(crate) client_error: Option<ProtocolError>,
    pub(crate) server_error: Option<ProtocolError>,
    /// What the server application does.
    pub(crate) application: Application,
    /// Bytes that the network delivers at a time.
    pub(crate) chunk: usize,
    /// Whether the network loses all bytes.
    pub(crate) network_down: bool,
    /// The last bytes that each side sent, for tests of what is on the wire.
    pub(crate) to_client: BytesMut,
    pub(crate) to_server: BytesMut,
    start: Instant,
}

/// A server application.
pub(crate) struct Application {
    /// The refusal of SASL credentials, if any.
    pub(crate) sasl: Option<SaslCode>,
    /// How links are accepted; `None` refuses them.
    pub(crate) grant: Option<Grant>,
    /// Whether messages are accepted as they arrive, by the client as well. Otherwise the server's are kept.
    pub(crate) settles: bool,
    pub(crate) kept: Vec<Unsettled>,
}

impl Pair {
    pub(crate) fn new(client: Config, server: Config, credentials: Option<Credentials>) -> Self {
        let now = Instant::now();
        Self {
            now,
            client: Connection::connect(Arc::new(client), credentials, now),
            server: Connection::accept(Arc::new(server), now),
            client_events: Vec::new(),
            server_events: Vec::new(),
            client_error: None,
            server_error: None,
            application: Application {
                sasl: None,
                grant: Some(Grant { credit: 10, max_message_size: 1024 * 1024, snd_settle_mode: None }),
                settles: true,
                kept: Vec::new(),
            },
            chunk: 16 * 1024,
            network_down: false,
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            start: now,
        }
    }

    /// An open connection with no events left.
    pub(crate) fn open(client: Config, server: Config) -> Self {
        let mut pair = Self::new(client, server, None);
        pair.drive();
        assert!(pair.client.is_open() && pair.server.is_open());
        pair.forget_events();
        pair
    }

    /// A session on an open connection.
    pub(crate) fn session(&mut self) -> SessionId {
        let session = self.client.begin().unwrap();
        self.drive();
        session
    }

    /// A link on which the client sends.
    pub(crate) fn sender(&mut self, session: SessionId) -> LinkId {
        let link = self.client.attach(session, &attach("up", Role::Sender), 0).unwrap();
        self.drive();
        link
    }

    /// A link on which the client receives; the ids of both sides.
    pub(crate) fn receiver(&mut self, session: SessionId, credit: u32) -> (LinkId, LinkId) {
        let link = self.client.attach(session, &attach("down", Role::Receiver), credit).unwrap();
        self.drive();
        let attached = self.server_events.iter().rev().find_map(|event| match event {
            Event::Attach { link, .. } => Some(*link),
            _ => None,
        });
        (link, attached.unwrap())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(crate) fn forget_events(&mut self) {
        self.client_events.clear();
        self.server_events.clear();
    }

    /// Transfers bytes and handles events until both ends are idle, without advancing the clock.
    pub(crate) fn drive(&mut self) {
        for _ in 0..100_000 {
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
        for chunk in to_server.chunks(self.chunk) {
            if let Err(error) = self.server.handle_input(chunk, self.now) {
                self.server_error = Some(error);
            }
            while let Some(event) = self.server.poll_event() {
                let event = self.answer(event);
                self.server_events.push(event);
            }
        }
        for chunk in to_client.chunks(self.chunk) {
            if let Err(error) = self.client.handle_input(chunk, self.now) {
                self.client_error = Some(error);
            }
            while let Some(mut event) = self.client.poll_event() {
                if let Event::Delivery(delivery) = &mut event
                    && self.application.settles
                    && let Some(unsettled) = delivery.unsettled.take()
                {
                    self.client.settle(unsettled, &DeliveryState::Accepted).unwrap();
                }
                self.client_events.push(event);
            }
        }
        if moved {
            (self.to_server, self.to_client) = (to_server, to_client);
        }
        moved
    }

    fn answer(&mut self, mut event: Event) -> Event {
        match &mut event {
            Event::SaslInit(_) => match self.application.sasl {
                Some(code) => self.server.refuse_sasl(code),
                None => self.server.accept_sasl().unwrap(),
            },
            Event::Open(_) => self.server.set_authenticated(),
            Event::Attach { link, .. } => {
                let answered = match &self.application.grant {
                    Some(grant) => self.server.accept_link(*link, grant),
                    None => {
                        let error = AmqpError::new("amqp:not-found").with_description("no such address");
                        self.server.refuse_link(*link, &error)
                    }
                };
                // The client may have detached the link in the same bytes.
                assert!(matches!(answered, Ok(()) | Err(SendError::Detached)), "{answered:?}");
            }
            Event::Delivery(delivery) => {
                if let Some(unsettled) = delivery.unsettled.take() {
                    if self.application.settles {
                        self.server.settle(unsettled, &DeliveryState::Accepted).unwrap();
                    } else {
                        self.application.kept.push(unsettled);
                    }
                }
            }
            _ => {}
        }
        event
    }
}

/// The attach of a link between two addresses.
pub(crate) fn attach(name: &str, role: Role) -> Attach<'_> {
    Attach {
        name,
        role,
        source: Some(Source { address: Some("from"), ..Source::default() }),
        target: Some(Target { address: Some("to"), ..Target::default() }),
        ..Attach::default()
    }
}

/// The payloads of all messages among the events.
pub(crate) fn payloads(events: &[Event]) -> Vec<&[u8]> {
    let payloads = events.iter().filter_map(|event| match event {
        Event::Delivery(delivery) => Some(&delivery.payload[..]),
        _ => None,
    });
    payloads.collect()
}
