//! An AMQP connection frame by frame, for what a state machine would not send.

use bytes::{Buf as _, Bytes, BytesMut};
use ferrohub_amqp::frame::{self, Frame, FrameType, ProtocolHeader};
use ferrohub_amqp::message::{MessageEncoder, Properties};
use ferrohub_amqp::performative::{
    AmqpError, Attach, Begin, Flow, Open, Performative, Role, SaslFrame, SaslInit, Source, Target, Transfer,
};
use ferrohub_amqp::{Symbol, Value};

use crate::Hub;
use crate::raw_tls::RawTls;

/// A frame of the hub.
#[derive(Debug, Clone)]
pub struct RawFrame {
    /// The channel.
    pub channel: u16,
    body: Bytes,
}

impl RawFrame {
    /// Returns the performative.
    #[must_use]
    #[track_caller]
    pub fn performative(&self) -> Performative<'_> {
        Performative::decode(&self.body).expect("a performative").0
    }

    /// Returns the size of what follows the performative, in bytes.
    #[must_use]
    #[track_caller]
    pub fn payload_len(&self) -> usize {
        Performative::decode(&self.body).expect("a performative").1.len()
    }

    /// Returns the condition of a detach, end or close; empty if it has none.
    #[must_use]
    #[track_caller]
    pub fn condition(&self) -> &str {
        let error: Option<AmqpError<'_>> = match self.performative() {
            Performative::Detach(detach) => detach.error,
            Performative::End(end) => end.error,
            Performative::Close(close) => close.error,
            other => panic!("{} has no error", other.name()),
        };
        error.map_or("", |error| error.condition.0)
    }
}

/// A connection whose frames the test writes.
pub struct RawAmqp {
    tls: RawTls,
    received: BytesMut,
}

impl RawAmqp {
    /// Connects; nothing is sent yet.
    #[must_use]
    #[track_caller]
    pub fn connect(hub: &Hub) -> Self {
        Self { tls: RawTls::amqp(hub), received: BytesMut::new() }
    }

    /// Connects without a SASL layer, opens the connection and begins a session on channel 0.
    #[must_use]
    #[track_caller]
    pub fn open(hub: &Hub) -> Self {
        let mut peer = Self::connect(hub);
        peer.send_bytes(&ProtocolHeader::Amqp.to_bytes());
        peer.send(0, Self::open_frame());
        peer.send(0, Self::begin_frame());
        assert_eq!(peer.read_header(), Some(ProtocolHeader::Amqp));
        let _ = peer.expect("amqp:open:list");
        let _ = peer.expect("amqp:begin:list");
        peer
    }

    /// An open with the largest frames.
    #[must_use]
    pub fn open_frame() -> Open<'static> {
        Open { container_id: "raw", max_frame_size: u32::MAX, channel_max: u16::MAX, ..Open::default() }
    }

    /// A begin with large windows.
    #[must_use]
    pub fn begin_frame() -> Begin<'static> {
        Begin { incoming_window: 10_000, outgoing_window: 10_000, handle_max: u32::MAX, ..Begin::default() }
    }

    /// An attach of a link on which the client sends.
    #[must_use]
    pub fn sender_frame<'a>(name: &'a str, handle: u32, address: &'a str) -> Attach<'a> {
        Attach {
            name,
            handle,
            role: Role::Sender,
            source: Some(Source::default()),
            target: Some(Target { address: Some(address), ..Target::default() }),
            initial_delivery_count: Some(0),
            ..Attach::default()
        }
    }

    /// An attach of a link on which the client receives.
    #[must_use]
    pub fn receiver_frame<'a>(name: &'a str, handle: u32, address: &'a str) -> Attach<'a> {
        Attach {
            name,
            handle,
            role: Role::Receiver,
            source: Some(Source { address: Some(address), ..Source::default() }),
            target: Some(Target::default()),
            ..Attach::default()
        }
    }

    /// A flow that gives credit.
    #[must_use]
    pub fn credit_frame(handle: u32, credit: u32) -> Flow<'static> {
        Flow {
            next_incoming_id: Some(1),
            incoming_window: 10_000,
            outgoing_window: 10_000,
            handle: Some(handle),
            delivery_count: Some(0),
            link_credit: Some(credit),
            ..Flow::default()
        }
    }

    /// Puts a token on handles 0 and 1 and waits for the answer.
    #[track_caller]
    pub fn put_token(&mut self, token: &str) {
        self.send(0, Self::sender_frame("to", 0, "$cbs"));
        self.send(0, Self::receiver_frame("from", 1, "$cbs"));
        self.send(0, Self::credit_frame(1, 10));
        let _ = self.expect("amqp:attach:list");
        let _ = self.expect("amqp:attach:list");
        self.transfer(0, 0, &token_request(token), false);
        let _ = self.expect("amqp:transfer:list");
    }

    /// Attaches the link on which messages to devices are sent, and waits for credit.
    #[track_caller]
    pub fn attach_messages(&mut self, handle: u32) {
        let name = format!("messages {handle}");
        self.send(0, Self::sender_frame(&name, handle, "/messages/devicebound"));
        let frame = self.expect("amqp:attach:list");
        assert!(matches!(frame.performative(), Performative::Attach(Attach { target: Some(_), .. })));
        let _ = self.expect("amqp:flow:list");
    }

    /// Sends a transfer on channel 0.
    #[track_caller]
    pub fn transfer(&mut self, handle: u32, delivery: u32, payload: &[u8], more: bool) {
        let transfer = Transfer {
            handle,
            delivery_id: Some(delivery),
            delivery_tag: Some(b"tag"),
            message_format: Some(0),
            more,
            ..Transfer::default()
        };
        self.send_with_payload(0, transfer, payload);
    }

    /// Sends a performative.
    #[track_caller]
    pub fn send<'a>(&mut self, channel: u16, performative: impl Into<Performative<'a>>) {
        self.send_with_payload(channel, performative, &[]);
    }

    /// Sends a performative with a payload.
    #[track_caller]
    pub fn send_with_payload<'a>(
        &mut self,
        channel: u16,
        performative: impl Into<Performative<'a>>,
        payload: &[u8],
    ) {
        let bytes = encode(channel, performative, payload);
        self.send_bytes(&bytes);
    }

    /// Sends a frame of the SASL layer.
    #[track_caller]
    pub fn send_sasl_init(&mut self, mechanism: &str, response: &[u8]) {
        let init = SaslInit {
            mechanism: Symbol(mechanism),
            initial_response: Some(response),
            hostname: Some("another.host"),
        };
        let mut bytes = BytesMut::new();
        frame::encode(&mut bytes, FrameType::Sasl, 0, |out| SaslFrame::Init(init).encode(out));
        self.send_bytes(&bytes);
    }

    /// Returns the TLS connection.
    #[must_use]
    pub fn into_tls(self) -> RawTls {
        self.tls
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.tls.send(bytes);
    }

    /// Reads a protocol header; `None` at the end of the connection.
    #[track_caller]
    pub fn read_header(&mut self) -> Option<ProtocolHeader> {
        self.fill(ProtocolHeader::LEN)?;
        let bytes = self.received.split_to(ProtocolHeader::LEN);
        Some(ProtocolHeader::from_bytes(*bytes.first_chunk()?).expect("a protocol header"))
    }

    /// Reads frames until one of this name, and returns it.
    ///
    /// # Panics
    /// If the connection ends before.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> RawFrame {
        loop {
            let frame = self.next_frame().unwrap_or_else(|| panic!("the connection ended before {name}"));
            if !frame.body.is_empty() && frame.performative().name() == name {
                return frame;
            }
        }
    }

    /// Reads a frame; `None` at the end of the connection.
    #[track_caller]
    pub fn next_frame(&mut self) -> Option<RawFrame> {
        self.fill(4)?;
        let size = u32::from_be_bytes(*self.received.first_chunk()?) as usize;
        self.fill(size)?;
        let bytes = self.received.split_to(size).freeze();
        let frame = Frame::decode(&bytes).expect("a frame");
        Some(RawFrame { channel: frame.channel, body: bytes.slice_ref(frame.body) })
    }

    /// Reads the outcome of the SASL layer; `None` if the connection ends before.
    #[track_caller]
    pub fn sasl_outcome(&mut self) -> Option<u8> {
        loop {
            let frame = self.next_frame()?;
            if let SaslFrame::Outcome(outcome) = SaslFrame::decode(&frame.body).expect("a SASL frame") {
                return Some(outcome.code as u8);
            }
        }
    }

    /// Reads to the end of the connection.
    #[track_caller]
    pub fn read_to_end(&mut self) {
        while self.fill(self.received.len() + 1).is_some() {
            self.received.advance(self.received.len());
        }
    }

    fn fill(&mut self, length: usize) -> Option<()> {
        while self.received.len() < length {
            self.received.extend_from_slice(&self.tls.read_some()?);
        }
        Some(())
    }
}

/// Encodes a frame.
#[must_use]
pub fn encode<'a>(channel: u16, performative: impl Into<Performative<'a>>, payload: &[u8]) -> BytesMut {
    let performative = performative.into();
    let mut bytes = BytesMut::new();
    frame::encode(&mut bytes, FrameType::Amqp, channel, |out| {
        performative.encode(out);
        out.extend_from_slice(payload);
    });
    bytes
}

/// Encodes a put-token request.
#[must_use]
pub fn token_request(token: &str) -> BytesMut {
    let mut request = BytesMut::new();
    MessageEncoder::new(&mut request)
        .properties(&Properties { message_id: Some(Value::Ulong(7)), ..Properties::default() })
        .application_properties(|map| {
            map.string("operation");
            map.string("put-token");
        })
        .value(|value| value.string(token));
    request
}

/// Encodes a message to a device.
#[must_use]
pub fn message(to: &str, body: &[u8]) -> BytesMut {
    let mut message = BytesMut::new();
    MessageEncoder::new(&mut message)
        .properties(&Properties { to: Some(to), ..Properties::default() })
        .data(body);
    message
}
