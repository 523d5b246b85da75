//! Attaching and detaching links (AMQP §2.6.3, 2.6.5, 2.6.6).

use std::mem;

use super::{Link, Session, Shared, Violation, link::LinkStage};
use crate::{
    Event, ProtocolError, SendError,
    codec::Owned,
    event::Reason,
    ids::LinkId,
    performative::{AmqpError, Attach, Detach, Role, SenderSettleMode, condition},
};

/// How the application accepts a link that the peer asks for. Name, modes, source, target and properties are repeated
/// from the peer's attach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grant {
    /// If we receive: messages that may be under way or unsettled at a time. The machine renews credit by itself, as
    /// messages are settled. If we send, it has no meaning.
    pub credit: u32,
    /// If we receive: largest message in bytes. A larger one detaches the link with
    /// `amqp:link:message-size-exceeded`. 0 is no limit. If we send, it is announced only.
    pub max_message_size: u64,
    /// Answers another mode than the peer asks for: Azure sends the events of an event hub settled, whatever the reader
    /// says.
    pub snd_settle_mode: Option<SenderSettleMode>,
}

impl Session {
    pub(super) fn handle_attach(
        &mut self,
        attach: &Attach<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<(), Violation> {
        let Some(handle) =
            u16::try_from(attach.handle).ok().filter(|&handle| handle <= shared.config.handle_max)
        else {
            return Err(ProtocolError::Handle(attach.handle).into());
        };
        let known = self.by_remote_handle(attach.handle).map(|link| (link.id, link.is_gone()));
        if let Some((id, true)) = known {
            // A client that does not answer our detach, and uses the handle again.
            self.remove(id, shared);
        } else if known.is_some() {
            return Err(Violation::Session(condition::HANDLE_IN_USE, "the handle is in use"));
        }
        if let Some(link) = self.links.iter_mut().find(|link| link.is_answered_by(attach)) {
            if !link.answered(attach) {
                return Ok(());
            }
            let id = link.id;
            shared.output.event(Event::Attach { link: id, attach: Owned::encoded(attach) });
            return if attach.source.is_some() { self.renew_credit(id, shared) } else { Ok(()) };
        }
        let handle = if self.position(handle).is_ok() { self.free_handle() } else { Some(handle) };
        let role = attach.role.peer();
        let Some(handle) = handle else {
            return Err(Violation::Session(condition::RESOURCE_LIMIT_EXCEEDED, "no handle is free"));
        };
        if !shared.has_room_for_link() {
            return self.refuse_unseen(attach, handle, shared);
        }
        let id = LinkId { channel: self.id.channel, handle, serial: shared.counters.next_serial() };
        let requested = Owned::encoded(attach);
        let mut link = Link::new(id, role, LinkStage::Requested(requested.clone()));
        link.remote_handle = Some(attach.handle);
        if role == Role::Receiver {
            link.delivery_count = attach.initial_delivery_count.unwrap_or(0);
        }
        self.insert(link, shared);
        shared.output.event(Event::Attach { link: id, attach: requested });
        Ok(())
    }

    /// Attaches a link on our side.
    pub(crate) fn attach(
        &mut self,
        attach: &Attach<'_>,
        credit: u32,
        shared: &mut Shared<'_>,
    ) -> Result<LinkId, SendError> {
        let handle = self.free_handle().ok_or(SendError::NoneFree)?;
        let id = LinkId { channel: self.id.channel, handle, serial: shared.counters.next_serial() };
        let initial = Some(0).filter(|_| attach.role == Role::Sender);
        let attach = Attach { handle: handle.into(), initial_delivery_count: initial, ..*attach };
        shared.output.frame(self.id.channel, attach)?;
        let mut link = Link::new(id, attach.role, LinkStage::Attaching(Owned::encoded(&attach)));
        link.max_message_size = attach.max_message_size.unwrap_or(0);
        link.max_credit = credit;
        self.insert(link, shared);
        Ok(id)
    }

    /// Accepts a link that the peer asks for.
    pub(crate) fn accept(
        &mut self,
        id: LinkId,
        grant: &Grant,
        shared: &mut Shared<'_>,
    ) -> Result<(), SendError> {
        let link = self.link_mut(id)?;
        let LinkStage::Requested(requested) = &link.stage else {
            return Err(SendError::Detached);
        };
        let asked = requested.get();
        let answer = Attach {
            snd_settle_mode: grant.snd_settle_mode.or(asked.snd_settle_mode),
            rcv_settle_mode: asked.rcv_settle_mode,
            // go-amqp takes an attach without a source or target as a refusal.
            source: Some(asked.source.unwrap_or_default()),
            target: Some(asked.target.unwrap_or_default()),
            properties: asked.properties,
            ..link.bare_answer(&asked, grant.max_message_size)
        };
        shared.output.frame(id.channel, answer)?;
        link.stage = LinkStage::Attached;
        link.max_message_size = grant.max_message_size;
        match link.role {
            Role::Receiver => link.max_credit = grant.credit,
            Role::Sender if link.credit > 0 || link.drain => link.report_credit(shared.output),
            Role::Sender => {}
        }
        // A flow always fits into a frame.
        let _ = self.renew_credit(id, shared);
        Ok(())
    }

    /// Refuses a link that the peer asks for: an attach without source and target, then a detach (AMQP §2.6.3). go-amqp
    /// loses the error if source or target is there.
    pub(crate) fn refuse(
        &mut self,
        id: LinkId,
        error: &AmqpError<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<(), SendError> {
        let link = self.link_mut(id)?;
        let LinkStage::Requested(requested) = &link.stage else {
            return Err(SendError::Detached);
        };
        let answer = link.bare_answer(&requested.get(), 0);
        let detach = Detach { handle: id.handle.into(), closed: true, error: Some(*error) };
        let start = shared.output.transmit_len();
        shared.output.frame(id.channel, answer)?;
        if let Err(error) = shared.output.frame(id.channel, detach) {
            shared.output.truncate(start);
            return Err(error);
        }
        link.stage = LinkStage::Detaching { report: false };
        Ok(())
    }

    /// Detaches a link from our side.
    pub(crate) fn detach(
        &mut self,
        id: LinkId,
        error: Option<&AmqpError<'_>>,
        shared: &mut Shared<'_>,
    ) -> Result<(), SendError> {
        let link = self.link_mut(id)?;
        if let LinkStage::Requested(_) = link.stage {
            let fallback = AmqpError::new(condition::NOT_ALLOWED);
            return self.refuse(id, error.unwrap_or(&fallback), shared);
        }
        let detach = Detach { handle: id.handle.into(), closed: true, error: error.copied() };
        shared.output.frame(id.channel, detach)?;
        link.stage = match mem::replace(&mut link.stage, LinkStage::Detaching { report: true }) {
            LinkStage::Attaching(attach) => LinkStage::Abandoned(attach),
            _ => LinkStage::Detaching { report: true },
        };
        self.forget_deliveries(id, shared);
        Ok(())
    }

    /// Detaches a link because the peer violated the protocol or a limit.
    pub(super) fn detach_forced(
        &mut self,
        id: LinkId,
        condition: &'static str,
        shared: &mut Shared<'_>,
    ) -> Result<(), Violation> {
        let error = AmqpError::new(condition);
        let reason = Some(Owned::encoded(&error));
        if self.detach(id, Some(&error), shared).is_ok() {
            if let Some(link) = self.position(id.handle).ok().and_then(|at| self.links.get_mut(at)) {
                link.stage = LinkStage::Detaching { report: false };
            }
            shared.output.event(Event::Detach { link: id, error: reason });
        }
        Ok(())
    }

    pub(super) fn handle_detach(&mut self, detach: &Detach<'_>, shared: &mut Shared<'_>) {
        // A detach of a link that is gone needs no answer: azure-eventhub sends some after the end of its session.
        let Some(link) = self.by_remote_handle(detach.handle) else {
            return;
        };
        let id = link.id;
        // A detach that closes would be no answer to one that does not (AMQP §2.6.6). We keep nothing in either case.
        let answer = Detach { handle: id.handle.into(), closed: detach.closed, error: None };
        let answered = match &link.stage {
            LinkStage::Requested(requested) => {
                let attach = link.bare_answer(&requested.get(), 0);
                shared.output.frame(id.channel, attach).and_then(|()| shared.output.frame(id.channel, answer))
            }
            LinkStage::Attaching(_) | LinkStage::Attached => shared.output.frame(id.channel, answer),
            LinkStage::Abandoned(_) | LinkStage::Detaching { .. } => Ok(()),
        };
        let report = link.stage != LinkStage::Detaching { report: false };
        // Only an attach with a name that does not fit into the peer's frames cannot be sent; the link ends regardless.
        let _ = answered;
        self.remove(id, shared);
        if report {
            let error: Reason = detach.error.as_ref().map(Owned::encoded);
            shared.output.event(Event::Detach { link: id, error });
        }
    }

    /// Refuses a link over the limit, without a record of it.
    fn refuse_unseen(
        &self,
        attach: &Attach<'_>,
        handle: u16,
        shared: &mut Shared<'_>,
    ) -> Result<(), Violation> {
        let id = LinkId { channel: self.id.channel, handle, serial: 0 };
        let link = Link::new(id, attach.role.peer(), LinkStage::Detaching { report: false });
        let error = AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED).with_description("too many links");
        let detach = Detach { handle: handle.into(), closed: true, error: Some(error) };
        let sent = shared.output.frame(self.id.channel, link.bare_answer(attach, 0));
        let sent = sent.and_then(|()| shared.output.frame(self.id.channel, detach));
        sent.map_err(|_| Violation::Session(condition::RESOURCE_LIMIT_EXCEEDED, "too many links"))
    }

    fn insert(&mut self, link: Link, shared: &mut Shared<'_>) {
        if let Err(at) = self.position(link.id.handle) {
            // Most sessions have up to three links, and keep them.
            if self.links.len() < 3 {
                self.links.reserve_exact(1);
            }
            self.links.insert(at, link);
            shared.counters.links += 1;
        }
    }

    fn remove(&mut self, id: LinkId, shared: &mut Shared<'_>) {
        self.forget_deliveries(id, shared);
        if let Ok(at) = self.position(id.handle) {
            self.links.remove(at);
            shared.counters.links -= 1;
            if self.links.is_empty() {
                self.links = Vec::new();
            }
        }
    }

    /// The smallest handle that no link has.
    fn free_handle(&self) -> Option<u16> {
        let gap = (0..).zip(&self.links).find(|(handle, link)| *handle != link.id.handle);
        let handle = gap.map_or(u16::try_from(self.links.len()).ok(), |(handle, _)| Some(handle))?;
        (u32::from(handle) <= self.remote_handle_max).then_some(handle)
    }
}

impl Link {
    /// An answer to the peer's attach, without source and target.
    fn bare_answer<'a>(&self, asked: &Attach<'a>, max_message_size: u64) -> Attach<'a> {
        Attach {
            name: asked.name,
            handle: self.id.handle.into(),
            role: self.role,
            snd_settle_mode: asked.snd_settle_mode,
            rcv_settle_mode: asked.rcv_settle_mode,
            initial_delivery_count: Some(0).filter(|_| self.role == Role::Sender),
            // The C client logs an error if it is absent.
            max_message_size: Some(max_message_size),
            ..Attach::default()
        }
    }

    fn is_answered_by(&self, answer: &Attach<'_>) -> bool {
        match &self.stage {
            LinkStage::Attaching(asked) | LinkStage::Abandoned(asked) => {
                asked.get().name == answer.name && self.role == answer.role.peer()
            }
            _ => false,
        }
    }

    /// Takes over the peer's answer; returns whether the link is attached.
    fn answered(&mut self, answer: &Attach<'_>) -> bool {
        self.remote_handle = Some(answer.handle);
        if self.is_gone() {
            self.stage = LinkStage::Detaching { report: true };
            return false;
        }
        self.stage = LinkStage::Attached;
        if self.role == Role::Receiver {
            self.delivery_count = answer.initial_delivery_count.unwrap_or(0);
        }
        true
    }
}
