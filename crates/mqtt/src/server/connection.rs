//! The server machine.

use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Instant};

use bytes::{BufMut, BytesMut};

use super::{Config, Event};
use crate::{
    ConnAck, DecodeError, Limits, Packet, PacketId, PacketKind, ProtocolError, QoS, Refusal, SendError,
    SubscribeCode,
    assembler::Assembler,
    codec::{self, PublishHeader},
};

/// One client's connection, seen from the server.
///
/// Once closed – by [`reject`](Self::reject), DISCONNECT or an error – it takes input and answers without effect; what
/// it still has to send and to tell can be polled.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    assembler: Assembler,
    transmit: BytesMut,
    events: VecDeque<Event>,
    /// QoS 1 messages without PUBACK, oldest first.
    in_flight: VecDeque<PacketId>,
    /// When silence began: at the start, when CONNECT was accepted, at the last input.
    since: Instant,
    next_id: PacketId,
    keep_alive: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but CONNECT is allowed.
    AwaitingConnect,
    /// CONNECT is in the application's hands; input is held.
    AwaitingAnswer,
    Connected,
    Closed,
}

impl Connection {
    /// A connection whose client has sent nothing yet. The connect time-out begins.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self {
            config,
            assembler: Assembler::default(),
            transmit: BytesMut::new(),
            events: VecDeque::new(),
            in_flight: VecDeque::new(),
            since: now,
            next_id: PacketId::FIRST,
            keep_alive: 0,
            state: State::AwaitingConnect,
        }
    }

    /// Call when bytes arrived; all of them are taken.
    ///
    /// Events queue up until [`poll_event`](Self::poll_event) takes them: feed slices of a bounded size (16 KiB) and
    /// poll in between, and memory is bounded by a multiple of that size and by `max_packet_size`. After an error the
    /// machine is closed; events of packets before the offending one can still be polled, and what is left to send
    /// should be sent: it may be the CONNACK that tells why.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), ProtocolError> {
        if self.state == State::Connected && !input.is_empty() {
            self.since = now;
        }
        let processed = self.process(input);
        self.close_on_error(processed)
    }

    /// Call when the instant of [`poll_timeout`](Self::poll_timeout) has passed; too early does no harm. Hand in
    /// what the socket has first: silence is what this machine has not heard.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let due = self.poll_timeout().is_some_and(|timeout| timeout <= now);
        let outcome = match self.state {
            State::Connected if due => Err(ProtocolError::KeepAliveTimeout),
            _ if due => Err(ProtocolError::ConnectTimeout),
            _ => Ok(()),
        };
        self.close_on_error(outcome)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). It moves later whenever input arrives: leave a timer that
    /// is set where it is, and ask again when it fires.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::AwaitingConnect | State::AwaitingAnswer => {
                self.since.checked_add(self.config.connect_timeout)
            }
            State::Connected => self.since.checked_add(self.config.keep_alive_timeout(self.keep_alive)),
            State::Closed => None,
        }
    }

    /// What the client did next. Call until `None` after `handle_input` and `accept`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.events = VecDeque::new();
        }
        event
    }

    /// What `poll_event` would answer, which is still to be polled.
    #[must_use]
    pub fn peek_event(&self) -> Option<&Event> {
        self.events.front()
    }

    /// Moves what is to be sent behind `out`. Call after everything else; an empty `out` is replaced, not copied into.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) {
        if out.is_empty() {
            *out = mem::take(&mut self.transmit);
        } else {
            out.extend_from_slice(&mem::take(&mut self.transmit));
        }
    }

    /// How many bytes [`poll_transmit`](Self::poll_transmit) would give now.
    #[must_use]
    pub fn transmit_len(&self) -> usize {
        self.transmit.len()
    }

    /// Whether the driver should read: not while the application has not answered CONNECT, not while more than
    /// `max_transmit` waits to be sent, not after the end.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.state {
            State::AwaitingConnect | State::Connected => self.transmit.len() <= self.config.max_transmit,
            State::AwaitingAnswer | State::Closed => false,
        }
    }

    /// How many QoS 1 messages may wait for the client's PUBACK.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.config.max_in_flight
    }

    /// Whether CONNECT was accepted and the end has not come.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether the end has come: send what is left, then close.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Answers CONNECT with yes, then processes the input that was held: poll events afterwards, and treat an error as
    /// one of [`handle_input`](Self::handle_input). Without effect when no CONNECT waits for its answer.
    pub fn accept(&mut self, session_present: bool, now: Instant) -> Result<(), ProtocolError> {
        if self.state != State::AwaitingAnswer {
            return Ok(());
        }
        self.state = State::Connected;
        self.since = now;
        codec::connack(ConnAck::Accepted { session_present }, &mut self.transmit);
        let processed = self.process(&[]);
        self.close_on_error(processed)
    }

    /// Answers CONNECT with no; the machine is closed. Without effect when no CONNECT waits for its answer.
    pub fn reject(&mut self, refusal: Refusal) {
        if self.state == State::AwaitingAnswer {
            codec::connack(ConnAck::Refused(refusal), &mut self.transmit);
            self.close();
        }
    }

    /// Answers SUBSCRIBE with one code per filter, in their order. Without codes or connection, nothing is sent.
    pub fn suback(&mut self, packet_id: PacketId, codes: &[SubscribeCode]) {
        if self.state == State::Connected {
            // The only error is an answer without codes, to a question without filters, which the decoder refuses.
            let _ = codec::suback(packet_id, codes, &mut self.transmit);
        }
    }

    /// Answers UNSUBSCRIBE.
    pub fn unsuback(&mut self, packet_id: PacketId) {
        self.send_ack(PacketKind::UnsubAck, packet_id);
    }

    /// Answers a QoS 1 message: it is safe here.
    pub fn puback(&mut self, packet_id: PacketId) {
        self.send_ack(PacketKind::PubAck, packet_id);
    }

    /// Sends a message; the topic is formatted straight into the send buffer: `format_args!("a/{id}")`.
    ///
    /// QoS 1 gives the identifier that a [`Event::PubAck`] will bring back.
    pub fn publish(
        &mut self,
        topic: impl fmt::Display,
        qos: QoS,
        payload: &[u8],
    ) -> Result<Option<PacketId>, SendError> {
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce if self.in_flight.len() >= self.config.max_in_flight => {
                return Err(SendError::TooManyInFlight);
            }
            QoS::AtLeastOnce => {
                let free = self.next_id.first_free(|id| self.in_flight.contains(&id));
                Some(free.ok_or(SendError::TooManyInFlight)?)
            }
            QoS::ExactlyOnce => return Err(SendError::ExactlyOnce),
        };
        self.send(false, packet_id, &topic, payload)?;
        if let Some(packet_id) = packet_id {
            self.next_id = packet_id.next();
        }
        Ok(packet_id)
    }

    /// Sends a QoS 1 message of an earlier connection again, under its identifier of then and with DUP
    /// (MQTT-4.4.0-1). Do this right after `accept`, before new messages take the identifier.
    pub fn republish(
        &mut self,
        packet_id: PacketId,
        topic: impl fmt::Display,
        payload: &[u8],
    ) -> Result<(), SendError> {
        if self.in_flight.len() >= self.config.max_in_flight || self.in_flight.contains(&packet_id) {
            return Err(SendError::TooManyInFlight);
        }
        self.send(true, Some(packet_id), &topic, payload)
    }

    fn send(
        &mut self,
        dup: bool,
        packet_id: Option<PacketId>,
        topic: &dyn fmt::Display,
        payload: &[u8],
    ) -> Result<(), SendError> {
        if self.state != State::Connected {
            return Err(SendError::NotConnected);
        }
        let qos = packet_id.map_or(QoS::AtMostOnce, |_| QoS::AtLeastOnce);
        let allow_wildcards = self.config.limits.wildcards_in_topics;
        let header = PublishHeader { dup, qos, retain: false, packet_id, allow_wildcards };
        codec::publish(&mut self.transmit, header, topic, payload)?;
        self.in_flight.extend(packet_id);
        Ok(())
    }

    fn send_ack(&mut self, kind: PacketKind, packet_id: PacketId) {
        if self.state == State::Connected {
            codec::id_packet(kind, packet_id, &mut self.transmit);
        }
    }

    fn process(&mut self, mut input: &[u8]) -> Result<(), ProtocolError> {
        loop {
            let limits = match self.state {
                State::AwaitingConnect => {
                    Limits { max_packet_size: self.config.max_connect_size, ..self.config.limits }
                }
                State::AwaitingAnswer => return self.hold(input),
                State::Connected => self.config.limits,
                State::Closed => return Ok(()),
            };
            match self.assembler.next(&mut input, &limits)? {
                Some(packet) => self.handle_packet(packet)?,
                None => return Ok(()),
            }
        }
    }

    fn hold(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        if self.assembler.len().saturating_add(input.len()) > self.config.max_held_input {
            return Err(ProtocolError::HeldInputOverflow);
        }
        self.assembler.hold(input);
        Ok(())
    }

    fn handle_packet(&mut self, packet: Packet) -> Result<(), ProtocolError> {
        let event = match (self.state, packet) {
            (State::AwaitingConnect, Packet::Connect(connect)) => {
                self.state = State::AwaitingAnswer;
                self.keep_alive = connect.keep_alive;
                Event::Connect(connect)
            }
            (State::AwaitingConnect, packet) => {
                return Err(ProtocolError::Unexpected(packet.kind()));
            }
            (_, Packet::Publish(publish)) if publish.qos == QoS::ExactlyOnce => {
                return Err(ProtocolError::ExactlyOnce);
            }
            (_, Packet::Publish(publish)) => Event::Publish(publish),
            (_, Packet::PubAck(packet_id)) => match self.acknowledge(packet_id) {
                true => Event::PubAck(packet_id),
                false => return Ok(()),
            },
            (_, Packet::Subscribe(subscribe)) => Event::Subscribe(subscribe),
            (_, Packet::Unsubscribe(unsubscribe)) => Event::Unsubscribe(unsubscribe),
            (_, Packet::PingReq) => {
                self.transmit.put_slice(&[(PacketKind::PingResp as u8) << 4, 0]);
                return Ok(());
            }
            (_, Packet::Disconnect) => {
                self.close();
                Event::Disconnect
            }
            (_, packet) => return Err(ProtocolError::Unexpected(packet.kind())),
        };
        self.events.push_back(event);
        Ok(())
    }

    /// Whether a message waited for this PUBACK. One for a message of an earlier connection is no fault of the client.
    fn acknowledge(&mut self, packet_id: PacketId) -> bool {
        let Some(index) = self.in_flight.iter().position(|&id| id == packet_id) else {
            return false;
        };
        self.in_flight.remove(index);
        if self.in_flight.is_empty() {
            self.in_flight = VecDeque::new();
        }
        true
    }

    fn close_on_error(&mut self, outcome: Result<(), ProtocolError>) -> Result<(), ProtocolError> {
        if let Err(error) = outcome {
            if self.state == State::AwaitingConnect
                && let ProtocolError::Decode(DecodeError::ProtocolLevel(_)) = error
            {
                codec::connack(ConnAck::Refused(Refusal::ProtocolVersion), &mut self.transmit);
            }
            self.close();
        }
        outcome
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.assembler.clear();
    }
}

#[cfg(test)]
mod tests;
