//! The server state machine.

use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Instant};

use bytes::{BufMut, BytesMut};

use super::{Config, Event};
use crate::{
    ConnAck, DecodeError, Limits, Packet, PacketId, PacketKind, ProtocolError, QoS, Refusal, SendError,
    SubscribeCode,
    assembler::Assembler,
    codec::{self, PublishHeader},
};

/// The connection of one client, seen from the server.
///
/// Once closed – by [`reject`](Self::reject), DISCONNECT or an error – it ignores input and responses; remaining output
/// and events can still be polled.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    assembler: Assembler,
    transmit: BytesMut,
    events: VecDeque<Event>,
    /// QoS 1 messages without PUBACK, oldest first.
    in_flight: VecDeque<PacketId>,
    /// Start of the current time-out: creation of the connection, acceptance of CONNECT, or the last input.
    since: Instant,
    next_id: PacketId,
    keep_alive: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Only CONNECT is allowed.
    AwaitingConnect,
    /// The application has not accepted or rejected CONNECT yet; input is buffered.
    AwaitingDecision,
    Connected,
    Closed,
}

impl Connection {
    /// Creates a connection whose client has sent nothing yet. The connect time-out starts at `now`.
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

    /// Processes received bytes; all of them are consumed.
    ///
    /// Events are queued until [`poll_event`](Self::poll_event) removes them. Pass in slices of a bounded size (16 KiB)
    /// and poll after each: then memory is bounded by a multiple of that size and by `max_packet_size`. After an error
    /// the state machine is closed. Events of packets before the invalid one can still be polled, and the remaining
    /// output should be sent: it may be the CONNACK with the reason.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), ProtocolError> {
        if self.state == State::Connected && !input.is_empty() {
            self.since = now;
        }
        let processed = self.process(input);
        self.close_on_error(processed)
    }

    /// Checks the time-outs. Call it when the instant of [`poll_timeout`](Self::poll_timeout) has passed; an earlier
    /// call has no effect. First pass in all input that the socket has: the keep-alive is measured from the last input
    /// passed in.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let due = self.poll_timeout().is_some_and(|timeout| timeout <= now);
        let outcome = match self.state {
            State::Connected if due => Err(ProtocolError::KeepAliveTimeout),
            _ if due => Err(ProtocolError::ConnectTimeout),
            _ => Ok(()),
        };
        self.close_on_error(outcome)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout). Input postpones this instant. A
    /// running timer need not be reset for each input: when it fires, call `handle_timeout`, then set it to the new
    /// instant.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::AwaitingConnect | State::AwaitingDecision => {
                self.since.checked_add(self.config.connect_timeout)
            }
            State::Connected => self.since.checked_add(self.config.keep_alive_timeout(self.keep_alive)),
            State::Closed => None,
        }
    }

    /// Returns the next event. After `handle_input` and after `accept`, call it until it returns `None`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.events = VecDeque::new();
        }
        event
    }

    /// Returns the event that `poll_event` would return next, without removing it.
    #[must_use]
    pub fn peek_event(&self) -> Option<&Event> {
        self.events.front()
    }

    /// Appends the pending output to `out`. Call it after each call of another method, which may
    /// have added output. An empty `out` is replaced without a copy.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) {
        if out.is_empty() {
            *out = mem::take(&mut self.transmit);
        } else {
            out.extend_from_slice(&mem::take(&mut self.transmit));
        }
    }

    /// Returns the number of bytes that [`poll_transmit`](Self::poll_transmit) would append now.
    #[must_use]
    pub fn transmit_len(&self) -> usize {
        self.transmit.len()
    }

    /// Returns whether the driver should read. False while the application has not accepted or rejected CONNECT, while
    /// more than `max_transmit` bytes of output are pending, and after the connection is closed.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.state {
            State::AwaitingConnect | State::Connected => self.transmit.len() <= self.config.max_transmit,
            State::AwaitingDecision | State::Closed => false,
        }
    }

    /// Returns the maximum number of QoS 1 messages without PUBACK.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.config.max_in_flight
    }

    /// Returns whether CONNECT was accepted and the connection is not closed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Returns whether the state machine is closed: send the remaining output, then close the transport.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Accepts CONNECT, then processes the buffered input. Poll events afterwards, and treat an error like one of
    /// [`handle_input`](Self::handle_input). Has no effect if no CONNECT is pending.
    pub fn accept(&mut self, session_present: bool, now: Instant) -> Result<(), ProtocolError> {
        if self.state != State::AwaitingDecision {
            return Ok(());
        }
        self.state = State::Connected;
        self.since = now;
        codec::connack(ConnAck::Accepted { session_present }, &mut self.transmit);
        let processed = self.process(&[]);
        self.close_on_error(processed)
    }

    /// Refuses CONNECT and closes the state machine. Has no effect if no CONNECT is pending.
    pub fn reject(&mut self, refusal: Refusal) {
        if self.state == State::AwaitingDecision {
            codec::connack(ConnAck::Refused(refusal), &mut self.transmit);
            self.close();
        }
    }

    /// Sends SUBACK with one code per filter, in the same order. Sends nothing if `codes` is empty or the client is not
    /// connected.
    pub fn suback(&mut self, packet_id: PacketId, codes: &[SubscribeCode]) {
        if self.state == State::Connected {
            // The only error is a SUBACK without codes, for a SUBSCRIBE without filters, which the decoder refuses.
            let _ = codec::suback(packet_id, codes, &mut self.transmit);
        }
    }

    /// Sends UNSUBACK.
    pub fn unsuback(&mut self, packet_id: PacketId) {
        self.send_ack(PacketKind::UnsubAck, packet_id);
    }

    /// Sends PUBACK for a QoS 1 message that is persisted.
    pub fn puback(&mut self, packet_id: PacketId) {
        self.send_ack(PacketKind::PubAck, packet_id);
    }

    /// Sends a message; the topic is formatted directly into the send buffer: `format_args!("a/{id}")`.
    ///
    /// For QoS 1, returns the packet identifier that a later [`Event::PubAck`] contains.
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
            QoS::ExactlyOnce => return Err(SendError::QoS2NotSupported),
        };
        self.send(false, packet_id, &topic, payload)?;
        if let Some(packet_id) = packet_id {
            self.next_id = packet_id.next();
        }
        Ok(packet_id)
    }

    /// Sends a QoS 1 message of an earlier connection again, with its original identifier and with DUP
    /// (MQTT-4.4.0-1). Call it right after `accept`, before new messages use the identifier.
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
                State::AwaitingDecision => return self.buffer_input(input),
                State::Connected => self.config.limits,
                State::Closed => return Ok(()),
            };
            match self.assembler.next(&mut input, &limits)? {
                Some(packet) => self.handle_packet(packet)?,
                None => return Ok(()),
            }
        }
    }

    fn buffer_input(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        if self.assembler.len().saturating_add(input.len()) > self.config.max_buffered_input {
            return Err(ProtocolError::BufferedInputOverflow);
        }
        self.assembler.buffer(input);
        Ok(())
    }

    fn handle_packet(&mut self, packet: Packet) -> Result<(), ProtocolError> {
        let event = match (self.state, packet) {
            (State::AwaitingConnect, Packet::Connect(connect)) => {
                self.state = State::AwaitingDecision;
                self.keep_alive = connect.keep_alive;
                Event::Connect(connect)
            }
            (State::AwaitingConnect, packet) => {
                return Err(ProtocolError::Unexpected(packet.kind()));
            }
            (_, Packet::Publish(publish)) if publish.qos == QoS::ExactlyOnce => {
                return Err(ProtocolError::QoS2NotSupported);
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

    /// Removes the message with this identifier and returns whether there was one. A PUBACK for a message of an earlier
    /// connection is not a protocol error.
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
