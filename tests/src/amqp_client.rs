//! An AMQP client that does what no real client would do: the hub's own state machine over a TLS connection of the test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use ferrohub_amqp::message::Message;
use ferrohub_amqp::performative::{Attach, DeliveryState, Outcome, Role, Source, Target};
use ferrohub_amqp::{
    Config, Connection, Credentials, Delivery, Event, LinkId, Outbound, Owned, SessionId, Unsettled, Value,
};

use crate::Hub;
use crate::raw_amqp::{message, token_request};
use crate::raw_tls::RawTls;

/// A link that the hub refused or detached: condition and description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The condition, such as `amqp:not-found`.
    pub condition: String,
    /// The text.
    pub description: String,
    /// The details, as name and text.
    pub info: Vec<(String, String)>,
}

impl Refused {
    fn of(error: Option<&Owned<ferrohub_amqp::performative::AmqpError<'static>>>) -> Self {
        let error = error.map(Owned::get).unwrap_or_default();
        Self {
            condition: error.condition.0.to_owned(),
            description: error.description.unwrap_or_default().to_owned(),
            info: error.info.map(|info| info.iter().map(text_pair).collect()).unwrap_or_default(),
        }
    }
}

fn text_pair((name, value): (Value<'_>, Value<'_>)) -> (String, String) {
    let text = value.as_str().map_or_else(|| format!("{value:?}"), str::to_owned);
    (name.as_str().unwrap_or_default().to_owned(), text)
}

/// A batch of feedback or a file notification.
#[derive(Debug)]
pub struct ReceivedItem {
    /// The delivery tag.
    pub tag: Vec<u8>,
    /// The media type.
    pub content_type: String,
    /// The body.
    pub body: serde_json::Value,
    unsettled: Option<Unsettled>,
}

impl ReceivedItem {
    #[track_caller]
    fn new(delivery: Delivery) -> Self {
        let message = Message::parse(&delivery.payload).expect("a message");
        let properties = message.properties().expect("properties");
        Self {
            tag: delivery.tag.as_bytes().to_vec(),
            content_type: properties.content_type.expect("a media type").0.to_owned(),
            body: serde_json::from_slice(&message.data().concat()).expect("JSON"),
            unsettled: delivery.unsettled,
        }
    }
}

/// A connection of an AMQP client.
pub struct AmqpClient {
    tls: RawTls,
    machine: Connection,
    session: Option<SessionId>,
    one_byte_at_a_time: bool,
    /// The link to `$cbs`.
    tokens: Option<LinkId>,
    /// The link from `$cbs`.
    answers: Option<LinkId>,
    sent: u32,
    /// Reasons of detaches that came while the client waited for something else.
    detached: VecDeque<Refused>,
    /// Messages that came meanwhile.
    received: VecDeque<Delivery>,
}

impl AmqpClient {
    /// Connects without a SASL layer, as Node and Go do, and begins a session.
    #[must_use]
    #[track_caller]
    pub fn connect(hub: &Hub) -> Self {
        Self::open(hub, None, false).expect("the hub accepts the connection")
    }

    /// Connects as [`connect`](Self::connect), and sends each byte in a TLS record of its own.
    #[must_use]
    #[track_caller]
    pub fn connect_slowly(hub: &Hub) -> Self {
        let credentials = Credentials { mechanism: "MSSBCBS", response: None };
        Self::open(hub, Some(credentials), true).expect("the hub accepts the connection")
    }

    /// Connects with SASL. `None` if the hub refuses the credentials.
    #[must_use]
    #[track_caller]
    pub fn with_sasl(hub: &Hub, mechanism: &'static str, response: &[u8]) -> Option<Self> {
        let response = Some(response.to_vec().into());
        Self::open(hub, Some(Credentials { mechanism, response }), false)
    }

    #[track_caller]
    fn open(hub: &Hub, credentials: Option<Credentials>, one_byte_at_a_time: bool) -> Option<Self> {
        let machine = Connection::connect(Arc::new(Config::default()), credentials, Instant::now());
        let tls = RawTls::amqp(hub);
        let mut client = Self {
            tls,
            machine,
            session: None,
            one_byte_at_a_time,
            tokens: None,
            answers: None,
            sent: 0,
            detached: VecDeque::new(),
            received: VecDeque::new(),
        };
        match client.next_event() {
            Event::Open(_) => {}
            Event::SaslRefused(_) => return None,
            other => panic!("unexpected {other:?}"),
        }
        client.session = Some(client.machine.begin().expect("a session"));
        assert!(matches!(client.next_event(), Event::Begin(_)));
        Some(client)
    }

    /// Returns the next event other than credit.
    ///
    /// # Panics
    /// If the hub closes the connection before.
    #[track_caller]
    pub fn next_event(&mut self) -> Event {
        self.next_event_or_end().expect("the hub closed the connection")
    }

    /// Returns the next event other than credit; `None` at the end of the connection.
    #[track_caller]
    pub fn next_event_or_end(&mut self) -> Option<Event> {
        loop {
            self.transmit();
            match self.machine.poll_event() {
                Some(Event::Credit { .. }) => {}
                Some(event) => return Some(event),
                None => {
                    let input = self.tls.read_some()?;
                    self.machine.handle_input(&input, Instant::now()).expect("the hub follows the protocol");
                }
            }
        }
    }

    fn transmit(&mut self) {
        let mut output = BytesMut::new();
        self.machine.poll_transmit(&mut output);
        if self.one_byte_at_a_time {
            output.iter().for_each(|byte| self.tls.send(&[*byte]));
        } else if !output.is_empty() {
            self.tls.send(&output);
        }
    }

    /// Attaches a link on which the client sends, and waits for credit.
    #[track_caller]
    pub fn attach_sender(&mut self, address: &str) -> Result<LinkId, Refused> {
        let link = self.attach(address, Role::Sender)?;
        while self.machine.credit(link) == 0 {
            self.read();
        }
        Ok(link)
    }

    /// Attaches a link on which the client receives, with credit for 100 messages.
    #[track_caller]
    pub fn attach_receiver(&mut self, address: &str) -> Result<LinkId, Refused> {
        self.attach(address, Role::Receiver)
    }

    /// Returns the next message, with its body as JSON.
    #[track_caller]
    pub fn next_item(&mut self) -> ReceivedItem {
        match self.next_event() {
            Event::Delivery(delivery) => ReceivedItem::new(delivery),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Settles a message that was received.
    #[track_caller]
    pub fn settle(&mut self, item: ReceivedItem, state: &DeliveryState<'_>) {
        let unsettled = item.unsettled.expect("an unsettled message");
        self.machine.settle(unsettled, state).expect("the link is attached");
        self.transmit();
    }

    /// Detaches a link and waits for the answer.
    #[track_caller]
    pub fn detach(&mut self, link: LinkId) {
        self.machine.detach(link, None).expect("the link is attached");
        assert!(matches!(self.next_event(), Event::Detach { error: None, .. }));
    }

    #[track_caller]
    fn attach(&mut self, address: &str, role: Role) -> Result<LinkId, Refused> {
        let name = format!("{role:?} {address}");
        let attach = Attach {
            name: &name,
            role,
            source: Some(Source { address: Some(address), ..Source::default() }),
            target: Some(Target { address: Some(address), ..Target::default() }),
            ..Attach::default()
        };
        self.attach_with(&attach, 100)
    }

    /// Attaches a link as `attach` says, with credit for so many messages if the client receives.
    #[track_caller]
    pub fn attach_with(&mut self, attach: &Attach<'_>, credit: u32) -> Result<LinkId, Refused> {
        let link = self.machine.attach(self.session.expect("a session"), attach, credit).expect("a link");
        let attach = loop {
            match self.next_event() {
                Event::Attach { attach, .. } => break attach,
                // Another link receives meanwhile.
                Event::Delivery(delivery) => self.received.push_back(delivery),
                other => panic!("no answer to attach: {other:?}"),
            }
        };
        if attach.get().source.is_some() || attach.get().target.is_some() {
            return Ok(link);
        }
        let error = loop {
            match self.next_event() {
                Event::Detach { error, .. } => break error,
                Event::Delivery(delivery) => self.received.push_back(delivery),
                other => panic!("no reason of the refusal: {other:?}"),
            }
        };
        Err(Refused::of(error.as_ref()))
    }

    /// Changes how many messages the hub may send on a link. Credit that was given is not taken back.
    #[track_caller]
    pub fn set_credit(&mut self, link: LinkId, credit: u32) {
        self.machine.set_max_credit(link, credit).expect("the link is attached");
        self.transmit();
    }

    /// Returns the next message of any link.
    #[track_caller]
    pub fn next_delivery(&mut self) -> Delivery {
        if let Some(delivery) = self.received.pop_front() {
            return delivery;
        }
        match self.next_event() {
            Event::Delivery(delivery) => delivery,
            other => panic!("unexpected {other:?}"),
        }
    }

    #[track_caller]
    fn read(&mut self) {
        self.transmit();
        let input = self.tls.read_some().expect("the hub closed the connection");
        self.machine.handle_input(&input, Instant::now()).expect("the hub follows the protocol");
    }

    /// Sends a token to `$cbs` and returns the status of the answer.
    #[track_caller]
    pub fn put_token(&mut self, token: &str) -> i32 {
        let sender = match self.tokens {
            Some(sender) => sender,
            None => {
                let sender = self.attach_sender("$cbs").expect("the link to $cbs");
                self.answers = Some(self.attach("$cbs", Role::Receiver).expect("the link from $cbs"));
                *self.tokens.insert(sender)
            }
        };
        let request = token_request(token);
        let mut outcome = self.send_encoded(sender, &request);
        // Either order is right.
        loop {
            match self.next_event() {
                Event::Outcome { outcome: settled, .. } => outcome = settled,
                Event::Delivery(delivery) if self.receives_on_other(&delivery) => {
                    self.received.push_back(delivery);
                }
                Event::Delivery(delivery) => {
                    let message = Message::parse(&delivery.payload).expect("a message");
                    assert_eq!(message.properties().unwrap().correlation_id, Some(Value::Ulong(7)));
                    let status = message.application_properties().unwrap().get("status-code");
                    let Some(Value::Int(status)) = status else { panic!("the status is {status:?}") };
                    assert_eq!(outcome, Some(Outcome::Accepted), "the request is settled");
                    return status;
                }
                Event::Detach { error, .. } => self.detached.push_back(Refused::of(error.as_ref())),
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn receives_on_other(&self, delivery: &Delivery) -> bool {
        self.answers != Some(delivery.link)
    }

    /// Sends a token on a link to `$cbs` and returns its outcome. The answer is not read.
    #[track_caller]
    pub fn put_token_only(&mut self, link: LinkId, token: &str) -> Result<(), Refused> {
        let _ = self.send_encoded(link, &token_request(token));
        self.next_outcome()
    }

    /// Sends a message to a device and returns the outcome.
    #[track_caller]
    pub fn send(&mut self, link: LinkId, to: &str, body: &[u8]) -> Result<(), Refused> {
        let _ = self.send_encoded(link, &message(to, body));
        self.next_outcome()
    }

    /// Sends messages, of which up to `in_flight` wait for their outcomes, and returns the outcomes in the order of the
    /// messages.
    #[track_caller]
    pub fn send_all(
        &mut self,
        link: LinkId,
        messages: &[(String, Vec<u8>)],
        in_flight: usize,
    ) -> Vec<Result<(), Refused>> {
        let (mut outcomes, mut sent) = (Vec::new(), messages.iter());
        let mut waiting = 0;
        loop {
            while waiting < in_flight
                && self.machine.credit(link) > 0
                && let Some((to, body)) = sent.next()
            {
                self.queue(link, &message(to, body));
                waiting += 1;
            }
            self.transmit();
            if outcomes.len() == messages.len() {
                return outcomes;
            }
            outcomes.push(self.next_outcome());
            waiting -= 1;
        }
    }

    #[track_caller]
    fn next_outcome(&mut self) -> Result<(), Refused> {
        match self.next_event() {
            Event::Outcome { outcome: Some(Outcome::Accepted), settled: true, .. } => Ok(()),
            Event::Outcome { outcome: Some(Outcome::Rejected(error)), settled: true, .. } => {
                Err(Refused::of(error.as_ref()))
            }
            Event::Detach { error, .. } => Err(Refused::of(error.as_ref())),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Starts to send an encoded message. The outcome is not known yet.
    #[track_caller]
    pub fn send_encoded(&mut self, link: LinkId, payload: &[u8]) -> Option<Outcome> {
        self.queue(link, payload);
        self.transmit();
        None
    }

    #[track_caller]
    fn queue(&mut self, link: LinkId, payload: &[u8]) {
        self.sent += 1;
        let tag = self.sent.to_be_bytes();
        let message = Outbound { tag: &tag, payload, ..Outbound::default() };
        let _ = self.machine.send(link, &message).expect("the client can send");
    }

    /// Returns the reason with which the hub detaches a link.
    #[track_caller]
    pub fn next_detach(&mut self) -> Refused {
        if let Some(reason) = self.detached.pop_front() {
            return reason;
        }
        loop {
            match self.next_event() {
                Event::Detach { error, .. } => return Refused::of(error.as_ref()),
                Event::Delivery(delivery) => self.received.push_back(delivery),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}
