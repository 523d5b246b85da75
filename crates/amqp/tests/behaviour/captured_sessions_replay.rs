//! Whole captured sessions, replayed against the server: the client's bytes as they were, and an application that decides
//! what the peer in the capture decided. What we send must be what that peer sent, and the client accepted.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::BytesMut;
use ferrohub_amqp::{
    Config, Connection, Event, Grant, LinkId, Outbound, SessionId, Unsettled,
    frame::{Frame, FrameType},
    performative::{AmqpError, Attach, Detach, Disposition, Flow, Performative, Role, SaslFrame, Transfer},
};

use crate::captures::{self, From, Line};

/// The server, and what its application knows.
struct Replay<'l> {
    server: Connection,
    now: Instant,
    lines: &'l [Line],
    sessions: HashMap<u16, SessionId>,
    links: HashMap<(u16, u32), LinkId>,
    /// Links whose attach is not answered yet, by name.
    requested: HashMap<String, LinkId>,
    /// Ids of the deliveries that the client has begun, oldest first.
    begun: VecDeque<(u16, u32)>,
    unsettled: HashMap<(u16, u32), Unsettled>,
    closed_by_client: bool,
    ours: BytesMut,
    theirs: Vec<u8>,
}

impl<'l> Replay<'l> {
    fn new(lines: &'l [Line]) -> Self {
        let now = Instant::now();
        let open =
            lines.iter().filter(|line| line.from == From::Peer).find_map(|line| match performative(line)? {
                (_, Performative::Open(open), _) => Some(open),
                _ => None,
            });
        // What the peer in the capture announced: one of them wanted small frames.
        let open = open.unwrap_or_default();
        let config = Config {
            container_id: "DeviceGateway_test".into(),
            hostname: None,
            max_frame_size: open.max_frame_size,
            ..Config::default()
        };
        Self {
            server: Connection::accept(Arc::new(config), now),
            now,
            lines,
            sessions: HashMap::new(),
            links: HashMap::new(),
            requested: HashMap::new(),
            begun: VecDeque::new(),
            unsettled: HashMap::new(),
            closed_by_client: false,
            ours: BytesMut::new(),
            theirs: Vec::new(),
        }
    }

    fn run(mut self) {
        for (at, line) in self.lines.iter().enumerate() {
            match line.from {
                From::Client => self.client(line),
                // The peer answered detaches for sessions that had ended, which is not necessary.
                From::Peer if self.is_after_the_end(line) => {}
                From::Peer => {
                    self.theirs.extend_from_slice(&line.bytes);
                    self.peer(line, &self.lines[at + 1..]);
                }
            }
            self.server.poll_transmit(&mut self.ours);
        }
        let (ours, theirs) = (comparable(&self.ours), comparable(&self.theirs));
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "{}, frame {at} of the server", self.lines[0].place);
        }
        assert_eq!(ours.len(), theirs.len(), "{:#?}", ours.last());
    }

    fn is_after_the_end(&self, line: &Line) -> bool {
        matches!(performative(line), Some((channel, Performative::Detach(_), _)) if !self.sessions.contains_key(&channel))
    }

    /// Passes in what the client sent.
    fn client(&mut self, line: &Line) {
        match performative(line) {
            Some((channel, Performative::Transfer(Transfer { delivery_id: Some(id), .. }), _))
                // A continuation may repeat the id.
                if self.begun.back() != Some(&(channel, id)) =>
            {
                self.begun.push_back((channel, id));
            }
            _ => {}
        }
        self.server.handle_input(&line.bytes, self.now).unwrap();
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Begin(session) => {
                    let channel = performative(line).unwrap().0;
                    self.sessions.insert(channel, session);
                }
                Event::Attach { link, attach } => {
                    let attach = attach.get();
                    let channel = performative(line).unwrap().0;
                    self.links.insert((channel, attach.handle), link);
                    self.requested.insert(attach.name.to_owned(), link);
                }
                Event::Delivery(delivery) => {
                    let id = self.begun.pop_front().unwrap();
                    if let Some(unsettled) = delivery.unsettled {
                        self.unsettled.insert(id, unsettled);
                    }
                }
                Event::Detach { link, .. } => self.links.retain(|_, known| *known != link),
                Event::End { session, .. } => {
                    self.sessions.retain(|_, known| *known != session);
                    let channel = performative(line).unwrap().0;
                    self.links.retain(|(known, _), _| *known != channel);
                }
                Event::Close { .. } => self.closed_by_client = true,
                Event::SaslInit(_) | Event::Open(_) | Event::Credit { .. } | Event::Outcome { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Decides what the peer decided; what the machine sends by itself needs no decision.
    fn peer(&mut self, line: &Line, later: &[Line]) {
        if line.is_header() {
            return;
        }
        if let Ok(SaslFrame::Outcome(outcome)) = SaslFrame::decode(Frame::decode(&line.bytes).unwrap().body) {
            assert_eq!(outcome.code, ferrohub_amqp::performative::SaslCode::Ok);
            self.server.accept_sasl().unwrap();
        }
        let Some((channel, performative, payload)) = performative(line) else {
            return;
        };
        match performative {
            Performative::Attach(answer) => self.answer_attach(channel, &answer, later),
            Performative::Transfer(transfer) => {
                let link = self.links[&(channel, transfer.handle)];
                let message = Outbound {
                    tag: transfer.delivery_tag.unwrap(),
                    message_format: transfer.message_format.unwrap_or(0),
                    settled: transfer.settled == Some(true),
                    payload,
                };
                self.server.send(link, &message).unwrap();
            }
            Performative::Disposition(disposition) => self.settle(channel, &disposition),
            Performative::Detach(Detach { handle, error, .. }) => {
                // Otherwise it is the answer to the client's detach, or the end of a refusal.
                if let Some(link) = self.links.remove(&(channel, handle)) {
                    self.server.detach(link, error.as_ref()).unwrap();
                }
            }
            Performative::End(end) => {
                if let Some(session) = self.sessions.remove(&channel) {
                    self.server.end(session, end.error.as_ref()).unwrap();
                }
            }
            Performative::Close(close) if !self.closed_by_client => {
                self.server.close(close.error.as_ref()).unwrap();
            }
            _ => {}
        }
    }

    fn answer_attach(&mut self, channel: u16, answer: &Attach<'_>, later: &[Line]) {
        let link = self.requested.remove(answer.name).unwrap();
        if answer.source.is_none() && answer.target.is_none() {
            let error = later.iter().filter(|line| line.from == From::Peer).find_map(|line| {
                match performative(line)? {
                    (on, Performative::Detach(Detach { handle, error: Some(error), .. }), _)
                        if (on, handle) == (channel, answer.handle) =>
                    {
                        Some(error)
                    }
                    _ => None,
                }
            });
            self.links.remove(&(channel, answer.handle));
            self.server.refuse_link(link, &error.unwrap_or(AmqpError::new("?"))).unwrap();
            return;
        }
        // The limits for unauthenticated clients suffice for the exchange with $cbs.
        if !addresses(answer).any(|address| address == "$cbs") {
            self.server.set_authenticated();
        }
        let credit =
            later.iter().filter(|line| line.from == From::Peer).find_map(|line| match performative(line)? {
                (on, Performative::Flow(Flow { handle: Some(handle), link_credit, .. }), _)
                    if (on, handle) == (channel, answer.handle) =>
                {
                    link_credit
                }
                _ => None,
            });
        let grant = Grant {
            credit: credit.filter(|_| answer.role == Role::Receiver).unwrap_or(0),
            max_message_size: answer.max_message_size.unwrap_or(0),
            snd_settle_mode: answer.snd_settle_mode,
        };
        self.server.accept_link(link, &grant).unwrap();
    }

    fn settle(&mut self, channel: u16, disposition: &Disposition<'_>) {
        assert_eq!(disposition.role, Role::Receiver);
        for id in disposition.first..=disposition.last.unwrap_or(disposition.first) {
            let unsettled = self.unsettled.remove(&(channel, id)).unwrap();
            self.server.settle(unsettled, &disposition.state.unwrap()).unwrap();
        }
    }
}

fn addresses<'a>(attach: &Attach<'a>) -> impl Iterator<Item = &'a str> {
    let source = attach.source.and_then(|source| source.address);
    let target = attach.target.and_then(|target| target.address);
    source.into_iter().chain(target)
}

fn performative(line: &Line) -> Option<(u16, Performative<'_>, &[u8])> {
    let frame =
        Frame::decode(&line.bytes).ok().filter(|frame| frame.kind == FrameType::Amqp && !line.is_header())?;
    let (performative, payload) = Performative::decode(frame.body).ok()?;
    Some((frame.channel, performative, payload))
}

/// A server's output as text, one frame a line, without what the peer in the captures simply did otherwise.
fn comparable(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        if bytes.starts_with(b"AMQP") {
            frames.push(format!("header {}", bytes[4]));
            bytes = &bytes[8..];
            continue;
        }
        let (frame, rest) = bytes.split_at(Frame::size(bytes, usize::MAX).unwrap().unwrap());
        bytes = rest;
        let frame = Frame::decode(frame).unwrap();
        if frame.kind == FrameType::Sasl {
            frames.push(format!("{:?}", SaslFrame::decode(frame.body).unwrap()));
            continue;
        }
        let (mut performative, payload) = Performative::decode(frame.body).unwrap();
        match &mut performative {
            // That peer announced no idle time-out.
            Performative::Open(open) => open.idle_time_out = None,
            // It repeated the client's limit, or wrote none.
            Performative::Attach(attach) => attach.max_message_size = None,
            _ => {}
        }
        frames.push(format!("{} {performative:?} {payload:02x?}", frame.channel));
    }
    frames
}

#[test]
fn captured_sessions_replay() {
    let mut replayed = 0;
    for capture in captures::all() {
        for section in &capture.sections {
            // Some sections are only parts of a session.
            if section[0].is_header() {
                Replay::new(section).run();
                replayed += 1;
            }
        }
    }
    assert_eq!(replayed, 29);
}
