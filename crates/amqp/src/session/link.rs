//! The state of a link.

use std::mem;

use bytes::BytesMut;

use crate::{
    codec::Owned,
    ids::{DeliveryTag, LinkId},
    performative::{Attach, Role},
};

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) id: LinkId,
    /// The peer's handle; absent until its attach.
    pub(super) remote_handle: Option<u32>,
    /// Our role.
    pub(super) role: Role,
    pub(super) stage: LinkStage,
    /// Whether the receiver has asked for a drain that was not answered yet.
    pub(super) drain: bool,
    /// Deliveries since the link was attached, from its initial value.
    pub(super) delivery_count: u32,
    /// Deliveries that the sender may send.
    pub(super) credit: u32,
    /// Receiver: deliveries that may be under way or unsettled at a time.
    pub(super) max_credit: u32,
    /// Deliveries that are not settled.
    pub(super) unsettled: u32,
    /// Receiver: largest message in bytes; 0 is no limit.
    pub(super) max_message_size: u64,
    /// Receiver: a delivery of which a part has arrived.
    pub(super) partial: Option<Box<Partial>>,
}

/// How far a link is.
#[derive(Debug, PartialEq)]
pub(super) enum LinkStage {
    /// The peer sent this attach, and the application has not answered.
    Requested(Owned<Attach<'static>>),
    /// We sent this attach and wait for the answer.
    Attaching(Owned<Attach<'static>>),
    /// Both have attached.
    Attached,
    /// We sent this attach and then detach; both answers are outstanding.
    Abandoned(Owned<Attach<'static>>),
    /// We sent detach and wait for the answer; everything else is ignored.
    Detaching {
        /// Whether the application is told about the answer.
        report: bool,
    },
}

/// A delivery of which a part has arrived.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) id: u32,
    pub(super) tag: DeliveryTag,
    pub(super) message_format: u32,
    pub(super) settled: bool,
    pub(super) payload: BytesMut,
}

impl Link {
    pub(super) fn new(id: LinkId, role: Role, stage: LinkStage) -> Self {
        Self {
            id,
            remote_handle: None,
            role,
            stage,
            drain: false,
            delivery_count: 0,
            credit: 0,
            max_credit: 0,
            unsettled: 0,
            max_message_size: 0,
            partial: None,
        }
    }

    /// Messages that can be sent now, or that the peer may send.
    pub(crate) fn credit(&self) -> u32 {
        self.credit
    }

    /// Whether the link has ended on our side.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stage, LinkStage::Abandoned(_) | LinkStage::Detaching { .. })
    }

    /// Bytes of the delivery of which a part has arrived.
    pub(super) fn partial_len(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.payload.len())
    }

    /// Bytes of heap memory beside the link itself. The attach of a requested link is shared with its event.
    pub(super) fn heap(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| mem::size_of::<Partial>() + partial.payload.capacity())
    }
}
