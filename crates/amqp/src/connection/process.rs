//! Frames that arrive.

use super::{Connection, Stage};
use crate::{
    Event, ProtocolError,
    assembler::FrameBytes,
    codec::{DecodeError, Owned},
    frame::{Frame, FrameType},
    ids::SessionId,
    performative::{AmqpError, Begin, Close, End, Performative, SaslFrame, condition},
    session::{self, Session, Violation},
};

impl Connection {
    pub(super) fn process(&mut self, mut input: &[u8]) -> Result<(), ProtocolError> {
        loop {
            match &self.stage {
                Stage::Header | Stage::AmqpHeader | Stage::Sasl { header: false, .. } => {
                    match self.assembler.header(&mut input) {
                        Some(bytes) => self.handle_header(bytes)?,
                        None => return Ok(()),
                    }
                }
                Stage::SaslDecision => return self.buffer_input(input),
                Stage::Closed => return Ok(()),
                _ => match self.assembler.frame(&mut input, self.max_frame_size())? {
                    Some(frame) => self.handle_frame(&frame)?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn max_frame_size(&self) -> usize {
        let limit = self.config.max_frame_size;
        let limit =
            if self.authenticated { limit } else { limit.min(self.config.unauthenticated.max_frame_size) };
        limit as usize
    }

    fn buffer_input(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        if self.assembler.len().saturating_add(input.len()) > self.config.max_buffered_input {
            return Err(ProtocolError::BufferedInputOverflow);
        }
        self.assembler.buffer(input);
        Ok(())
    }

    fn handle_frame(&mut self, bytes: &FrameBytes<'_>) -> Result<(), ProtocolError> {
        let frame = Frame::decode(bytes)?;
        let sasl = matches!(self.stage, Stage::SaslInit | Stage::Sasl { .. } | Stage::SaslSent);
        match frame.kind {
            FrameType::Sasl if sasl => self.handle_sasl(SaslFrame::decode(frame.body)?),
            FrameType::Amqp if !sasl && frame.body.is_empty() => Ok(()),
            FrameType::Amqp if !sasl => {
                let (performative, payload) = Performative::decode(frame.body)?;
                self.handle_performative(frame.channel, performative, payload, bytes)
            }
            kind => Err(DecodeError::UnexpectedFrameType(kind as u8).into()),
        }
    }

    fn handle_performative(
        &mut self,
        channel: u16,
        performative: Performative<'_>,
        payload: &[u8],
        bytes: &FrameBytes<'_>,
    ) -> Result<(), ProtocolError> {
        match (&self.stage, performative) {
            (Stage::Opening, Performative::Open(open)) => self.handle_open(&open),
            (Stage::Open | Stage::Closing, Performative::Close(close)) => {
                self.handle_close(&close);
                Ok(())
            }
            (Stage::Open, Performative::Begin(begin)) => self.handle_begin(channel, &begin),
            (Stage::Open, Performative::End(end)) => {
                self.handle_end(channel, &end);
                Ok(())
            }
            (Stage::Opening, other) | (_, other @ Performative::Open(_)) => {
                Err(ProtocolError::Unexpected(other.name()))
            }
            (Stage::Open, other) => self.handle_in_session(channel, &other, payload, bytes),
            // Frames may cross our close.
            _ => Ok(()),
        }
    }

    fn handle_begin(&mut self, channel: u16, begin: &Begin<'_>) -> Result<(), ProtocolError> {
        // A client that does not answer our end may begin on the channel again.
        let known = self.by_remote_channel(channel);
        let ended = known.filter(|&at| self.sessions.get(at).is_some_and(Session::is_ending));
        if channel > self.config.channel_max || known != ended {
            return Err(ProtocolError::Channel(channel));
        }
        if let Some(at) = ended {
            self.sessions.remove(at);
        }
        if let Some(ours) = begin.remote_channel {
            // The answer to our begin.
            let session = self.position(ours).ok().and_then(|at| self.sessions.get_mut(at));
            let Some(session) = session.filter(|session| session.remote_channel.is_none()) else {
                return Err(ProtocolError::Channel(ours));
            };
            session.begun(channel, begin);
            let id = session.id();
            if !session.is_ending() {
                self.output.event(Event::Begin(id));
            }
            return Ok(());
        }
        // The same channel in both directions, as Azure does. Only a client that also begins sessions can have taken it.
        let ours = if self.position(channel).is_ok() { self.free_channel() } else { Some(channel) };
        let ours = ours.ok_or(ProtocolError::Channel(channel))?;
        let answer = Session::begin(Some(channel), &self.config);
        // Begin, and an end with a short text, fit into the smallest frame.
        let _ = self.output.frame(ours, answer);
        let max_sessions = match self.authenticated {
            true => self.config.max_sessions,
            false => self.config.max_sessions.min(self.config.unauthenticated.max_sessions),
        };
        if self.sessions.len() >= max_sessions {
            // No record is kept: what arrives on an unknown channel is ignored.
            let error =
                AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED).with_description("too many sessions");
            let _ = self.output.frame(ours, End { error: Some(error) });
            return Ok(());
        }
        let id = SessionId { channel: ours, serial: self.counters.next_serial() };
        self.insert(Session::new(id, Some((channel, begin)), &self.config));
        self.output.event(Event::Begin(id));
        Ok(())
    }

    fn handle_in_session(
        &mut self,
        channel: u16,
        performative: &Performative<'_>,
        payload: &[u8],
        bytes: &FrameBytes<'_>,
    ) -> Result<(), ProtocolError> {
        // azure-eventhub detaches links after it has ended their session.
        let Some(at) = self.by_remote_channel(channel) else {
            return Ok(());
        };
        let Some((session, mut shared)) = self.session(at) else {
            return Ok(());
        };
        match session.handle(performative, payload, bytes, &mut shared) {
            Ok(()) => Ok(()),
            Err(Violation::Connection(error)) => Err(error),
            Err(Violation::Session(condition, description)) => {
                let error = AmqpError::new(condition).with_description(description);
                let _ = shared.output.frame(session.id().channel, End { error: Some(error) });
                session.clear(&mut shared);
                session.stage = session::Stage::Ending { report: false };
                let event = Event::End { session: session.id(), error: Some(Owned::encoded(&error)) };
                self.output.event(event);
                Ok(())
            }
        }
    }

    fn handle_end(&mut self, channel: u16, end: &End<'_>) {
        let Some(at) = self.by_remote_channel(channel) else {
            return;
        };
        let Some((session, mut shared)) = self.session(at) else {
            return;
        };
        let id = session.id();
        let report = session.stage != session::Stage::Ending { report: false };
        if !session.is_ending() {
            let _ = shared.output.frame(id.channel, End::default());
        }
        session.clear(&mut shared);
        self.sessions.remove(at);
        if self.sessions.is_empty() {
            self.sessions = Vec::new();
        }
        if report {
            self.output.event(Event::End { session: id, error: end.error.as_ref().map(Owned::encoded) });
        }
    }

    fn handle_close(&mut self, close: &Close<'_>) {
        if self.is_open() {
            let _ = self.output.frame(0, Close::default());
        }
        self.set_closed();
        self.output.event(Event::Close { error: close.error.as_ref().map(Owned::encoded) });
    }

    /// Finds the place of a session by our channel.
    pub(super) fn position(&self, channel: u16) -> Result<usize, usize> {
        self.sessions.binary_search_by_key(&channel, |session| session.id().channel)
    }

    /// Finds the place of a session by the peer's channel, which mostly is ours as well.
    fn by_remote_channel(&self, channel: u16) -> Option<usize> {
        let is_it = |session: &Session| session.remote_channel == Some(channel);
        let same = self.position(channel).ok();
        same.filter(|&at| self.sessions.get(at).is_some_and(is_it))
            .or_else(|| self.sessions.iter().position(is_it))
    }

    pub(super) fn insert(&mut self, session: Session) {
        if let Err(at) = self.position(session.id().channel) {
            // Most connections have one session.
            self.sessions.reserve_exact(if self.sessions.is_empty() { 1 } else { 0 });
            self.sessions.insert(at, session);
        }
    }

    /// The smallest channel that no session has.
    pub(super) fn free_channel(&self) -> Option<u16> {
        let gap = (0..).zip(&self.sessions).find(|(channel, session)| *channel != session.id().channel);
        let channel = gap.map_or(u16::try_from(self.sessions.len()).ok(), |(channel, _)| Some(channel))?;
        (channel <= self.channel_max).then_some(channel)
    }
}
