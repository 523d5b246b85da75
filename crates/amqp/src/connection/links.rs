//! What the application does with sessions, links and messages.

use super::{Connection, Stage};
use crate::{
    Grant, Outbound, SendError,
    ids::{DeliveryId, LinkId, SessionId, Unsettled},
    performative::{AmqpError, Attach, DeliveryState, End},
    session::{self, Session, Shared},
};

impl Connection {
    /// Begins a session. Links can be attached at once; [`Event::Begin`](crate::Event::Begin) reports the answer.
    pub fn begin(&mut self) -> Result<SessionId, SendError> {
        self.check_open()?;
        let channel = self.free_channel().ok_or(SendError::NoneFree)?;
        self.output.frame(channel, Session::begin(None, &self.config))?;
        let id = SessionId { channel, serial: self.counters.next_serial() };
        self.insert(Session::new(id, None, &self.config));
        Ok(id)
    }

    /// Ends a session, with a reason or without. [`Event::End`](crate::Event::End) reports the answer.
    pub fn end(&mut self, session: SessionId, error: Option<&AmqpError<'_>>) -> Result<(), SendError> {
        self.in_session(session, |session, shared| {
            shared.output.frame(session.id().channel, End { error: error.copied() })?;
            session.clear(shared);
            session.stage = session::Stage::Ending { report: true };
            Ok(())
        })
    }

    /// Attaches a link. `attach` describes it; its handle and delivery-count are chosen here. If we receive, `credit`
    /// messages may be under way or unsettled at a time. [`Event::Attach`](crate::Event::Attach) reports the answer.
    pub fn attach(
        &mut self,
        session: SessionId,
        attach: &Attach<'_>,
        credit: u32,
    ) -> Result<LinkId, SendError> {
        self.in_session(session, |session, shared| session.attach(attach, credit, shared))
    }

    /// Accepts a link that the peer asks for. Source, target, name and modes of its attach are repeated.
    pub fn accept_link(&mut self, link: LinkId, grant: &Grant) -> Result<(), SendError> {
        self.on_link(link, |session, shared| session.accept(link, grant, shared))
    }

    /// Refuses a link that the peer asks for.
    pub fn refuse_link(&mut self, link: LinkId, error: &AmqpError<'_>) -> Result<(), SendError> {
        self.on_link(link, |session, shared| session.refuse(link, error, shared))
    }

    /// Detaches a link, with a reason or without. [`Event::Detach`](crate::Event::Detach) reports the answer.
    pub fn detach(&mut self, link: LinkId, error: Option<&AmqpError<'_>>) -> Result<(), SendError> {
        self.on_link(link, |session, shared| session.detach(link, error, shared))
    }

    /// Sends a message. Once it is settled, [`Event::Outcome`](crate::Event::Outcome) reports the receiver's decision.
    pub fn send(&mut self, link: LinkId, message: &Outbound<'_>) -> Result<DeliveryId, SendError> {
        self.on_link(link, |session, shared| session.send(link, message, shared))
    }

    /// Returns how many messages can be sent on a link now, or how many its peer may send; 0 if it is detached.
    #[must_use]
    pub fn credit(&self, link: LinkId) -> u32 {
        let session = self.position(link.channel).ok().and_then(|at| self.sessions.get(at));
        session.and_then(|session| session.link(link).ok()).map_or(0, session::Link::credit)
    }

    /// Returns whether a message can be sent on a link at once, at least in part: it has credit, its session a window, and
    /// not too much output is pending. Of a driver that sends only then, each session keeps at most the rest of one message
    /// for a receiver that stalls. Until that is sent, no link of the session can send; if it is longer than
    /// [`Config::max_transmit`](crate::Config::max_transmit), no link of the connection can.
    #[must_use]
    pub fn can_send(&self, link: LinkId) -> bool {
        let session = self.position(link.channel).ok().and_then(|at| self.sessions.get(at));
        let has_room = self.output.pending() <= self.config.max_transmit;
        has_room && session.is_some_and(|session| session.can_send(link))
    }

    /// Returns the session of a link, unless the link is detached.
    #[must_use]
    pub fn session_of(&self, link: LinkId) -> Option<SessionId> {
        let session = self.position(link.channel).ok().and_then(|at| self.sessions.get(at))?;
        session.link(link).ok().map(|_| session.id())
    }

    /// Changes how many messages of a link on which we receive may be under way or unsettled at a time. Credit that was
    /// given is not taken back: 0 stops a sender only after it has used its credit.
    pub fn set_max_credit(&mut self, link: LinkId, max_credit: u32) -> Result<(), SendError> {
        self.on_link(link, |session, shared| session.set_max_credit(link, max_credit, shared))
    }

    /// Gives back all credit of a link, after a [`Credit`](crate::Event::Credit) event with `drain`. Has no effect on a link that
    /// is not being drained.
    pub fn drained(&mut self, link: LinkId) -> Result<(), SendError> {
        self.on_link(link, |session, shared| session.drained(link, shared))
    }

    /// Settles a message that has arrived, with the state that tells the sender what became of it.
    pub fn settle(&mut self, unsettled: Unsettled, state: &DeliveryState<'_>) -> Result<(), SendError> {
        self.on_link(unsettled.link, |session, shared| session.settle(&unsettled, state, shared))
    }

    /// Settles a message that was sent, after an [`Outcome`](crate::Event::Outcome) that its receiver has not settled. `state`
    /// is normally the receiver's; another one tells it that its decision came too late.
    pub fn settle_sent(
        &mut self,
        link: LinkId,
        delivery: DeliveryId,
        state: &DeliveryState<'_>,
    ) -> Result<(), SendError> {
        self.on_link(link, |session, shared| session.settle_sent(link, delivery, state, shared))
    }

    fn check_open(&self) -> Result<(), SendError> {
        if matches!(self.stage, Stage::Open) { Ok(()) } else { Err(SendError::NotOpen) }
    }

    fn in_session<T>(
        &mut self,
        id: SessionId,
        action: impl FnOnce(&mut Session, &mut Shared<'_>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        self.check_open()?;
        let at = self.position(id.channel).map_err(|_| SendError::Ended)?;
        let (session, mut shared) = self.session(at).ok_or(SendError::Ended)?;
        if session.id() != id || session.is_ending() {
            return Err(SendError::Ended);
        }
        action(session, &mut shared)
    }

    fn on_link<T>(
        &mut self,
        link: LinkId,
        action: impl FnOnce(&mut Session, &mut Shared<'_>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        self.check_open()?;
        let at = self.position(link.channel).map_err(|_| SendError::Detached)?;
        let (session, mut shared) = self.session(at).ok_or(SendError::Detached)?;
        action(session, &mut shared)
    }
}
