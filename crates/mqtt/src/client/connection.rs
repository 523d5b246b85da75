//! The client machine.

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
/// Once closed – by [`disconnect`](Self::disconnect), a refusal or an error – it takes input without effect; what it
/// still has to send and to tell can be polled, and [`into_session`](Self::into_session) saves the rest.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    assembler: Assembler,
    transmit: BytesMut,
    events: VecDeque<Event>,
    session: Session,
    /// SUBSCRIBE with its number of filters, and UNSUBSCRIBE with 0, that wait for an answer.
    requests: Vec<(PacketId, usize)>,
    /// When the wait that `state` tells of began.
    since: Instant,
    keep_alive: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AwaitingConnAck,
    /// The next PINGREQ is due a keep-alive after the last one.
    Connected,
    AwaitingPingResp,
    Closed,
}

impl Connection {
    /// Begins a connection: CONNECT is ready to be sent, the connect time-out begins.
    ///
    /// `session` is `Session::default()` or that of the connection before, whose unacknowledged messages are sent again
    /// after CONNACK, whether or not the server kept a session: it may have taken them, or not.
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

    /// Ends it: what the next connection needs.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// What the next connection would need if it took over now: a copy of it can be handed to one that is opened while
    /// this one still serves.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Call when bytes arrived; all of them are taken.
    ///
    /// Events queue up until [`poll_event`](Self::poll_event) takes them: feed slices of a bounded size and poll in
    /// between. After an error the machine is closed; events of packets before the offending one can still be polled.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), ProtocolError> {
        let processed = self.process(input, now);
        self.close_on_error(processed)
    }

    /// Call when the instant of [`poll_timeout`](Self::poll_timeout) has passed; too early does no harm. It may make a
    /// PINGREQ ready to be sent.
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

    /// When to call [`handle_timeout`](Self::handle_timeout). Other traffic does not move it: a ping goes out every
    /// keep-alive, so that silence on either way is noticed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let keep_alive = Duration::from_secs(self.keep_alive.into());
        let wait = match self.state {
            State::AwaitingConnAck => self.config.connect_timeout,
            // Without an answer the next ping would not go out, and the server would miss it.
            State::AwaitingPingResp => self.config.ping_timeout.min(keep_alive),
            State::Connected if self.keep_alive != 0 => keep_alive,
            State::Connected | State::Closed => return None,
        };
        self.since.checked_add(wait)
    }

    /// What the server did next. Call until `None` after `handle_input`.
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

    /// Whether the driver should read: not while more than `max_transmit` waits to be sent, not after the end.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.state != State::Closed && self.transmit.len() <= self.config.max_transmit
    }

    /// Whether the server accepted the connection and the end has not come.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected | State::AwaitingPingResp)
    }

    /// Whether the end has come: send what is left, then close.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// How many packets of ours wait for an acknowledgement.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.session.unacknowledged.len() + self.requests.len()
    }

    /// Sends a message; the topic is formatted straight into the send buffer: `format_args!("a/{id}")`.
    ///
    /// QoS 1 gives the identifier that an [`Event::PubAck`] will bring back, on this connection or a later one.
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
            QoS::ExactlyOnce => return Err(SendError::ExactlyOnce),
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

    /// Asks for messages. [`Event::SubAck`] brings the identifier back, if it is answered on this connection.
    pub fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Result<PacketId, SendError> {
        let packet_id = self.next_packet_id()?;
        let bytes = filters.iter().map(|(filter, qos)| (filter.as_bytes(), *qos));
        codec::subscribe(packet_id, bytes, &mut self.transmit)?;
        self.add_request(packet_id, filters.len())
    }

    /// Asks for no more messages. [`Event::UnsubAck`] brings the identifier back.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<PacketId, SendError> {
        let packet_id = self.next_packet_id()?;
        codec::unsubscribe(packet_id, filters.iter().map(|filter| filter.as_bytes()), &mut self.transmit)?;
        self.add_request(packet_id, 0)
    }

    /// Acknowledges a message, where the configuration leaves this to the application.
    pub fn puback(&mut self, packet_id: PacketId) {
        if self.is_connected() {
            codec::id_packet(PacketKind::PubAck, packet_id, &mut self.transmit);
        }
    }

    /// Says good-bye, so that the will is not sent; the machine is closed.
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
                return Err(ProtocolError::ExactlyOnce);
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

    /// Sends the session's messages again, marked as such (MQTT-4.4.0-1, MQTT-3.3.1-1).
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
            // It could be encoded once, so it can be again.
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
