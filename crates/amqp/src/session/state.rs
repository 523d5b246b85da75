//! The state of a session.

use std::{collections::VecDeque, mem};

use super::{
    Link, Shared, Violation,
    link::LinkStage,
    outgoing::{Sent, Waiting},
};
use crate::{
    Config, SendError,
    assembler::FrameBytes,
    ids::{LinkId, SessionId},
    performative::{Begin, Performative, Role},
};

/// The transfer id of our first transfer, as Azure has it.
pub(super) const INITIAL_OUTGOING_ID: u32 = 1;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) id: SessionId,
    pub(crate) remote_channel: Option<u16>,
    pub(crate) stage: Stage,
    /// Transfer id that the peer uses next.
    pub(super) next_incoming_id: u32,
    /// Transfer frames that the peer may send before we renew the window.
    pub(super) incoming_window: u32,
    /// Transfer id that we use next.
    pub(super) next_outgoing_id: u32,
    /// Transfer frames that we may send.
    pub(super) remote_window: u32,
    /// Delivery id that we use next.
    pub(super) next_delivery_id: u32,
    /// Highest handle that the peer accepts.
    pub(super) remote_handle_max: u32,
    /// Sorted by our handle.
    pub(super) links: Vec<Link>,
    /// Messages that wait for the window, oldest first.
    pub(super) waiting: VecDeque<Waiting>,
    /// Messages that we sent and the peer has not settled, oldest first.
    pub(super) sent: VecDeque<Sent>,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// We sent begin and wait for the answer.
    Beginning,
    /// Both have begun.
    Active,
    /// We sent end and wait for the answer; everything else is ignored.
    Ending {
        /// Whether the application is told about the answer.
        report: bool,
    },
}

impl Session {
    /// Creates a session that the peer has begun, or that we begin.
    pub(crate) fn new(id: SessionId, remote: Option<(u16, &Begin<'_>)>, config: &Config) -> Self {
        let mut session = Self {
            id,
            remote_channel: None,
            stage: Stage::Beginning,
            next_incoming_id: 0,
            incoming_window: config.incoming_window,
            next_outgoing_id: INITIAL_OUTGOING_ID,
            remote_window: 0,
            next_delivery_id: 0,
            remote_handle_max: u32::MAX,
            links: Vec::new(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
        };
        if let Some((channel, begin)) = remote {
            session.begun(channel, begin);
        }
        session
    }

    /// Takes over what the peer's begin says.
    pub(crate) fn begun(&mut self, channel: u16, begin: &Begin<'_>) {
        self.remote_channel = Some(channel);
        // We may have sent end already.
        if self.stage == Stage::Beginning {
            self.stage = Stage::Active;
        }
        self.next_incoming_id = begin.next_outgoing_id;
        self.remote_window = begin.incoming_window;
        self.remote_handle_max = begin.handle_max;
    }

    /// Our begin.
    pub(crate) fn begin<'a>(remote_channel: Option<u16>, config: &Config) -> Begin<'a> {
        Begin {
            remote_channel,
            next_outgoing_id: INITIAL_OUTGOING_ID,
            incoming_window: config.incoming_window,
            outgoing_window: config.incoming_window,
            handle_max: config.handle_max.into(),
            ..Begin::default()
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Whether the session has ended on our side.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. })
    }

    /// Processes a performative of this session.
    pub(crate) fn handle(
        &mut self,
        performative: &Performative<'_>,
        payload: &[u8],
        frame: &FrameBytes<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<(), Violation> {
        if self.is_ending() {
            return Ok(());
        }
        match performative {
            Performative::Attach(attach) => self.handle_attach(attach, shared),
            Performative::Flow(flow) => self.handle_flow(flow, shared),
            Performative::Transfer(transfer) => self.handle_transfer(transfer, payload, frame, shared),
            Performative::Disposition(disposition) => {
                self.handle_disposition(disposition, shared);
                Ok(())
            }
            Performative::Detach(detach) => {
                self.handle_detach(detach, shared);
                Ok(())
            }
            Performative::Open(_)
            | Performative::Begin(_)
            | Performative::End(_)
            | Performative::Close(_) => Ok(()),
        }
    }

    /// Gives up everything in the session, before it ends.
    pub(crate) fn clear(&mut self, shared: &mut Shared<'_>) {
        shared.counters.links -= self.links.len();
        for link in mem::take(&mut self.links) {
            shared.counters.assembly -= link.partial_len();
        }
        let waiting = mem::take(&mut self.waiting);
        shared.output.waiting -= waiting.iter().map(Waiting::len).sum::<usize>();
        self.sent = VecDeque::new();
    }

    /// Bytes of heap memory that are allocated for this session.
    pub(crate) fn heap(&self) -> usize {
        self.links.capacity() * mem::size_of::<Link>()
            + self.links.iter().map(Link::heap).sum::<usize>()
            + self.waiting.capacity() * mem::size_of::<Waiting>()
            + self.sent.capacity() * mem::size_of::<Sent>()
    }

    /// Finds the place of a link by our handle.
    pub(super) fn position(&self, handle: u16) -> Result<usize, usize> {
        self.links.binary_search_by_key(&handle, |link| link.id.handle)
    }

    /// Finds a link by the peer's handle, which mostly is ours as well.
    pub(super) fn by_remote_handle(&mut self, handle: u32) -> Option<&mut Link> {
        let same = u16::try_from(handle).ok().and_then(|handle| self.position(handle).ok());
        let is_it = |link: &Link| link.remote_handle == Some(handle);
        let at = same
            .filter(|&at| self.links.get(at).is_some_and(is_it))
            .or_else(|| self.links.iter().position(is_it))?;
        self.links.get_mut(at)
    }

    /// Finds a link that still exists.
    pub(crate) fn link(&self, id: LinkId) -> Result<&Link, SendError> {
        let link = self.position(id.handle).ok().and_then(|at| self.links.get(at));
        link.filter(|link| link.id == id && !link.is_gone()).ok_or(SendError::Detached)
    }

    pub(super) fn link_mut(&mut self, id: LinkId) -> Result<&mut Link, SendError> {
        let at = self.position(id.handle).map_err(|_| SendError::Detached)?;
        let link = self.links.get_mut(at);
        link.filter(|link| link.id == id && !link.is_gone()).ok_or(SendError::Detached)
    }

    /// Finds a link that is attached and has this role on our side.
    pub(super) fn attached(&mut self, id: LinkId, role: Role) -> Result<&mut Link, SendError> {
        let link = self.link_mut(id)?;
        match link.stage {
            LinkStage::Attached if link.role == role => Ok(link),
            _ => Err(SendError::Detached),
        }
    }
}
