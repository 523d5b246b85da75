//! A reader of events that asks for what no real client would.

use bytes::BytesMut;
use ferrohub_amqp::message::{Body, Message, MessageEncoder, Properties};
use ferrohub_amqp::performative::{Attach, Role, Source, Target};
use ferrohub_amqp::{Descriptor, Encoder, LinkId, Map, Symbol, Value};

use crate::{AmqpClient, Hub, Refused};

/// The name of the filter for the start position.
const SELECTOR: &str = "apache.org:selector-filter:string";

/// A link for the events of a partition.
#[derive(Debug, Clone)]
pub struct EventsLink<'a> {
    /// The address, if it is not that of a consumer group and partition of the hub.
    pub address: Option<String>,
    /// The consumer group.
    pub group: &'a str,
    /// The partition.
    pub partition: u16,
    /// The text of the filter.
    pub filter: Option<&'a str>,
    /// The owner level.
    pub epoch: Option<Value<'a>>,
    /// The first credit.
    pub credit: u32,
    /// A capability that the client wants.
    pub capability: Option<&'a str>,
}

impl Default for EventsLink<'_> {
    fn default() -> Self {
        Self {
            address: None,
            group: "$Default",
            partition: 0,
            filter: None,
            epoch: None,
            credit: 1000,
            capability: None,
        }
    }
}

/// An event as a client has received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// The sequence number.
    pub sequence: i64,
    /// The body.
    pub body: String,
}

/// The answer of `$management`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementAnswer {
    /// The status.
    pub status: i32,
    /// The text of the status.
    pub description: String,
    /// Names of what is in the body.
    pub names: Vec<String>,
}

impl EventsLink<'_> {
    fn with_attach<T>(&self, hub: &Hub, use_attach: impl FnOnce(&Attach<'_>) -> T) -> T {
        let default =
            || format!("{}/ConsumerGroups/{}/Partitions/{}", hub.name(), self.group, self.partition);
        let address = self.address.clone().unwrap_or_else(default);
        let (mut filter, mut properties) = (BytesMut::new(), BytesMut::new());
        Encoder::new(&mut filter).map(|map| {
            if let Some(text) = self.filter {
                map.symbol(SELECTOR);
                map.described(Descriptor::Symbol(Symbol(SELECTOR)), |value| value.string(text));
            }
        });
        Encoder::new(&mut properties).map(|map| {
            if let Some(epoch) = &self.epoch {
                map.symbol("com.microsoft:epoch");
                map.value(epoch);
            }
        });
        let source = Source {
            address: Some(&address),
            filter: Some(Map::decode(&filter).unwrap()),
            ..Source::default()
        };
        let name = format!("{address} {:?}", std::time::Instant::now());
        let attach = Attach {
            name: &name,
            role: Role::Receiver,
            source: Some(source),
            target: Some(Target { address: Some("reader"), ..Target::default() }),
            properties: Some(Map::decode(&properties).unwrap()),
            desired_capabilities: self.capability.map(ferrohub_amqp::Symbols::one),
            ..Attach::default()
        };
        use_attach(&attach)
    }
}

impl AmqpClient {
    /// Attaches a link for events.
    ///
    /// # Errors
    /// The reason if the hub refuses it.
    #[track_caller]
    pub fn attach_events(&mut self, hub: &Hub, link: &EventsLink<'_>) -> Result<LinkId, Refused> {
        link.with_attach(hub, |attach| self.attach_with(attach, link.credit))
    }

    /// Returns the next event.
    #[track_caller]
    pub fn next_received_event(&mut self) -> ReceivedEvent {
        let delivery = self.next_delivery();
        assert!(delivery.unsettled.is_none(), "events are sent settled");
        let message = Message::parse(&delivery.payload).expect("a message");
        let sequence = message.message_annotations().unwrap().get("x-opt-sequence-number");
        let body = String::from_utf8(message.data().concat().into_owned()).expect("text");
        ReceivedEvent { sequence: sequence.and_then(|number| number.as_i64()).expect("a number"), body }
    }

    /// Attaches the pair of links for requests to `$management`.
    ///
    /// # Errors
    /// The reason if the hub refuses one of them.
    #[track_caller]
    pub fn attach_management(&mut self) -> Result<LinkId, Refused> {
        let attach = Attach {
            name: "answers",
            role: Role::Receiver,
            source: Some(Source { address: Some("$management"), ..Source::default() }),
            target: Some(Target { address: Some("my-answers"), ..Target::default() }),
            ..Attach::default()
        };
        self.attach_with(&attach, 100)?;
        self.attach_sender("$management")
    }

    /// Sends a request to `$management` and returns the answer.
    #[track_caller]
    pub fn manage(&mut self, link: LinkId, pairs: &[(&str, &str)]) -> ManagementAnswer {
        self.send_encoded(link, &management_request(pairs));
        let answer = loop {
            match self.next_event() {
                ferrohub_amqp::Event::Delivery(delivery) => break delivery,
                ferrohub_amqp::Event::Outcome { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        };
        let message = Message::parse(&answer.payload).expect("a message");
        assert_eq!(message.properties().unwrap().correlation_id, Some(Value::Uuid([7; 16])));
        let properties = message.application_properties().unwrap();
        let Some(Value::Int(status)) = properties.get("status-code") else { panic!("no status") };
        let description = properties.get("status-description").and_then(|text| text.as_str()).unwrap();
        let names = match message.body().expect("a body") {
            Body::Value(Value::Map(map)) => {
                map.iter().map(|(name, _)| name.as_str().unwrap_or_default().to_owned()).collect()
            }
            _ => Vec::new(),
        };
        ManagementAnswer { status, description: description.to_owned(), names }
    }
}

/// Encodes a request to `$management`.
#[must_use]
pub fn management_request(pairs: &[(&str, &str)]) -> BytesMut {
    let mut request = BytesMut::new();
    MessageEncoder::new(&mut request)
        .properties(&Properties {
            message_id: Some(Value::Uuid([7; 16])),
            reply_to: Some("my-answers"),
            ..Properties::default()
        })
        .application_properties(|map| {
            for (name, value) in pairs {
                map.string(name);
                map.string(value);
            }
        });
    request
}
