//! The client state machine.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};

use super::{Config, Event, Session, session::Unacknowledged};
use crate::{
    ConnAck, Connect, EncodeError, Packet, PacketId, PacketKind, ProtocolError, QoS, SendError, Utf8,
    assembler::Assembler,
    codec::{self, PublishHeader},
};

/// One connection to a server, seen from the client.
///
/// Once closed – by [`disconnect`](Self::disconnect), a refusal or an error – it ignores input. Remaining output and
/// events can still be polled, and [`into_session`](Self::into_session) returns the unacknowledged messages.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    assembler: Assembler,
    transmit: BytesMut,
    events: VecDeque<Event>,
    session: Session,
    /// Pending requests: SUBSCRIBE with its number of filters, and UNSUBSCRIBE with 0.
    requests: Vec<(PacketId, usize)>,
    /// Start of the current time-out, see `state`.
    since: Instant,
    keep_alive: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AwaitingConnAck,
    /// The next PINGREQ is due one keep-alive after the last one.
    Connected,
    AwaitingPingResp,
    Closed,
}

impl Connection {
    /// Creates a connection with CONNECT as pending output. The connect time-out starts at `now`.
    ///
    /// `session` is `Session::default()` or the session of the previous connection. Its unacknowledged messages are
    /// sent again after CONNACK, whether or not the server kept a session: the server may or may not have received
    /// them.
    ///
    /// # Errors
    ///
    /// If `connect` cannot be encoded.
    pub fn connect(
        config: Arc<Config>,
        connect: &Connect,
        session: Session,
        now: Instant,
    ) -> Result<Self, EncodeError> {
        let mut transmit = BytesMut::new();
        codec::connect(connect, &mut transmit)?;
        Ok(Self {
            config,
            assembler: Assembler::default(),
            transmit,
            events: VecDeque::new(),
            session,
            requests: Vec::new(),
            since: now,
            keep_alive: connect.keep_alive,
            state: State::AwaitingConnAck,
        })
    }

    /// Ends the connection and returns the session for the next one.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// Returns the current session. A copy of it can be passed to a new connection that is opened while this one is
    /// still in use.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Processes received bytes; all of them are consumed.
    ///
    /// Events are queued until [`poll_event`](Self::poll_event) removes them: pass in slices of a bounded size and poll
    /// after each. After an error the state machine is closed; events of packets before the invalid one can still be
    /// polled.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), ProtocolError> {
        let processed = self.process(input, now);
        self.close_on_error(processed)
    }

    /// Checks the time-outs and adds PINGREQ to the output when it is due. Call it when the instant of
    /// [`poll_timeout`](Self::poll_timeout) has passed; an earlier call has no effect.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        if self.poll_timeout().is_none_or(|timeout| now < timeout) {
            return Ok(());
        }
        let outcome = match self.state {
            State::AwaitingConnAck => Err(ProtocolError::ConnectTimeout),
            State::AwaitingPingResp => Err(ProtocolError::PingTimeout),
            State::Connected => {
                self.transmit.put_slice(&[(PacketKind::PingReq as u8) << 4, 0]);
                self.since = now;
                self.state = State::AwaitingPingResp;
                Ok(())
            }
            State::Closed => Ok(()),
        };
        self.close_on_error(outcome)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout). Other traffic does not move it: a PINGREQ is sent
    /// once per keep-alive, so that a failure in either direction is detected.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let keep_alive = Duration::from_secs(self.keep_alive.into());
        let wait = match self.state {
            State::AwaitingConnAck => self.config.connect_timeout,
            // While PINGRESP is pending no PINGREQ is sent, and the server's keep-alive would expire: so never wait
            // longer than one keep-alive.
            State::AwaitingPingResp => self.config.ping_timeout.min(keep_alive),
            State::Connected if self.keep_alive != 0 => keep_alive,
            State::Connected | State::Closed => return None,
        };
        self.since.checked_add(wait)
    }

    /// Returns the next event. Call it until it returns `None` after `handle_input`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        match &event {
            Some(Event::Publish(publish)) if self.config.auto_puback => {
                if let Some(packet_id) = publish.packet_id {
                    self.puback(packet_id);
                }
            }
            Some(_) => {}
            None => self.events = VecDeque::new(),
        }
        event
    }

    /// Appends the pending output to `out`. Call it after all other methods. An empty `out` is replaced without a copy.
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

    /// Returns whether the driver should read. False while more than `max_transmit` bytes of output are pending, and
    /// after the connection is closed.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.state != State::Closed && self.transmit.len() <= self.config.max_transmit
    }

    /// Returns whether the server accepted the connection and it is not closed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected | State::AwaitingPingResp)
    }

    /// Returns whether the state machine is closed: send the remaining output, then close the transport.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Returns the number of unacknowledged packets.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.session.unacknowledged.len() + self.requests.len()
    }

    /// Sends a message; the topic is formatted directly into the send buffer: `format_args!("a/{id}")`.
    ///
    /// For QoS 1, returns the packet identifier that a later [`Event::PubAck`] contains, on this connection or a later
    /// one.
    pub fn publish(
        &mut self,
        topic: impl fmt::Display,
        qos: QoS,
        payload: Bytes,
    ) -> Result<Option<PacketId>, SendError> {
        let packet_id = match qos {
            QoS::AtMostOnce if self.is_connected() => None,
            QoS::AtMostOnce => return Err(SendError::NotConnected),
            QoS::AtLeastOnce => Some(self.next_packet_id()?),
            QoS::ExactlyOnce => return Err(SendError::QoS2NotSupported),
        };
        let allow_wildcards = self.config.limits.wildcards_in_topics;
        let header = PublishHeader { dup: false, qos, retain: false, packet_id, allow_wildcards };
        let topic_range = codec::publish(&mut self.transmit, header, &topic, &payload)?;
        if let Some(packet_id) = packet_id {
            let topic = Bytes::copy_from_slice(self.transmit.get(topic_range).unwrap_or_default());
            let message = Unacknowledged { packet_id, topic: Utf8::new_unchecked(topic), payload };
            self.session.unacknowledged.push_back(message);
            self.session.next_id = packet_id.next();
        }
        Ok(packet_id)
    }

    /// Sends SUBSCRIBE and returns its identifier, which [`Event::SubAck`] repeats. The request is not repeated on a
    /// later connection.
    pub fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Result<PacketId, SendError> {
        let packet_id = self.next_packet_id()?;
        let bytes = filters.iter().map(|(filter, qos)| (filter.as_bytes(), *qos));
        codec::subscribe(packet_id, bytes, &mut self.transmit)?;
        self.add_request(packet_id, filters.len())
    }

    /// Sends UNSUBSCRIBE and returns its identifier, which [`Event::UnsubAck`] repeats.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<PacketId, SendError> {
        let packet_id = self.next_packet_id()?;
        codec::unsubscribe(packet_id, filters.iter().map(|filter| filter.as_bytes()), &mut self.transmit)?;
        self.add_request(packet_id, 0)
    }

    /// Sends PUBACK for a message. Only needed if `auto_puback` is false.
    pub fn puback(&mut self, packet_id: PacketId) {
        if self.is_connected() {
            codec::id_packet(PacketKind::PubAck, packet_id, &mut self.transmit);
        }
    }

    /// Sends DISCONNECT, so that the server does not publish the will, and closes the state machine.
    pub fn disconnect(&mut self) {
        if self.is_connected() {
            self.transmit.put_slice(&[(PacketKind::Disconnect as u8) << 4, 0]);
        }
        self.close();
    }

    fn next_packet_id(&self) -> Result<PacketId, SendError> {
        if !self.is_connected() {
            return Err(SendError::NotConnected);
        }
        if self.in_flight() >= self.config.max_in_flight {
            return Err(SendError::TooManyInFlight);
        }
        let used = |id| self.session.contains(id) || self.requests.iter().any(|&(request, _)| request == id);
        self.session.next_id.first_free(used).ok_or(SendError::TooManyInFlight)
    }

    fn add_request(&mut self, packet_id: PacketId, filters: usize) -> Result<PacketId, SendError> {
        self.requests.push((packet_id, filters));
        self.session.next_id = packet_id.next();
        Ok(packet_id)
    }

    fn process(&mut self, mut input: &[u8], now: Instant) -> Result<(), ProtocolError> {
        while self.state != State::Closed
            && let Some(packet) = self.assembler.next(&mut input, &self.config.limits)?
        {
            self.handle_packet(packet, now)?;
        }
        Ok(())
    }

    fn handle_packet(&mut self, packet: Packet, now: Instant) -> Result<(), ProtocolError> {
        let event = match (self.state, packet) {
            (State::AwaitingConnAck, Packet::ConnAck(ConnAck::Accepted { session_present })) => {
                self.state = State::Connected;
                self.since = now;
                self.resend_unacknowledged();
                Event::Connected { session_present }
            }
            (State::AwaitingConnAck, Packet::ConnAck(ConnAck::Refused(refusal))) => {
                self.close();
                Event::Refused(refusal)
            }
            (State::AwaitingConnAck, packet) => {
                return Err(ProtocolError::Unexpected(packet.kind()));
            }
            (_, Packet::Publish(publish)) if publish.qos == QoS::ExactlyOnce => {
                return Err(ProtocolError::QoS2NotSupported);
            }
            (_, Packet::Publish(publish)) => Event::Publish(publish),
            (_, Packet::PubAck(packet_id)) => match self.session.remove(packet_id) {
                true => Event::PubAck(packet_id),
                false => return Ok(()),
            },
            (_, Packet::SubAck(suback)) => {
                self.complete_request(PacketKind::SubAck, suback.packet_id, suback.codes.len())?;
                Event::SubAck { packet_id: suback.packet_id, codes: suback.codes }
            }
            (_, Packet::UnsubAck(packet_id)) => {
                self.complete_request(PacketKind::UnsubAck, packet_id, 0)?;
                Event::UnsubAck(packet_id)
            }
            (State::AwaitingPingResp, Packet::PingResp) => {
                self.state = State::Connected;
                return Ok(());
            }
            (_, packet) => return Err(ProtocolError::Unexpected(packet.kind())),
        };
        self.events.push_back(event);
        Ok(())
    }

    /// Sends the session's messages again, with DUP (MQTT-4.4.0-1, MQTT-3.3.1-1).
    fn resend_unacknowledged(&mut self) {
        for message in &self.session.unacknowledged {
            let packet_id = Some(message.packet_id);
            let header = PublishHeader {
                dup: true,
                qos: QoS::AtLeastOnce,
                retain: false,
                packet_id,
                allow_wildcards: true,
            };
            // The message was encoded before, so this cannot fail.
            let _ = codec::publish(&mut self.transmit, header, &message.topic, &message.payload);
        }
    }

    fn complete_request(
        &mut self,
        kind: PacketKind,
        packet_id: PacketId,
        codes: usize,
    ) -> Result<(), ProtocolError> {
        let request = self.requests.iter().position(|&request| request == (packet_id, codes));
        self.requests.swap_remove(request.ok_or(ProtocolError::UnexpectedAck(kind))?);
        if self.requests.is_empty() {
            self.requests = Vec::new();
        }
        Ok(())
    }

    fn close_on_error(&mut self, outcome: Result<(), ProtocolError>) -> Result<(), ProtocolError> {
        if outcome.is_err() {
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
