//! Messages that we send: frames within the session window, and deliveries until they are settled.

use std::{collections::VecDeque, mem};

use bytes::{Buf, Bytes};

use super::{Session, Shared};
use crate::{
    SendError,
    ids::{DeliveryId, DeliveryTag, LinkId},
    output::Output,
    performative::{Performative, Role, Transfer},
};

/// A message to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outbound<'a> {
    /// Name of the delivery, unique among the unsettled ones of the link; at most 32 bytes. Azure's are 16 bytes, and
    /// .NET clients read nothing else.
    pub tag: &'a [u8],
    /// The format, such as [`BATCH_FORMAT`](crate::message::BATCH_FORMAT).
    pub message_format: u32,
    /// Whether it is sent settled: then no [`Outcome`](crate::Event::Outcome) follows.
    pub settled: bool,
    /// The encoded message; see [`MessageEncoder`](crate::message::MessageEncoder).
    pub payload: &'a [u8],
}

/// What each frame of a message repeats.
#[derive(Debug, Clone, Copy)]
struct Head {
    handle: u16,
    delivery: DeliveryId,
    tag: DeliveryTag,
    message_format: u32,
    settled: bool,
    /// The delivery-id on the wire, once the first frame is sent.
    wire_id: Option<u32>,
}

/// A message, or the rest of one, that waits for the session window.
#[derive(Debug)]
pub(super) struct Waiting {
    head: Head,
    rest: Bytes,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }
}

/// A message that was sent unsettled and is not settled yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) wire_id: u32,
    pub(super) handle: u16,
    pub(super) delivery: DeliveryId,
    /// Whether the receiver has decided, and waits for us to settle.
    pub(super) decided: bool,
}

impl Session {
    /// Whether a message can be sent on a link at once, at least in part.
    pub(crate) fn can_send(&self, id: LinkId) -> bool {
        let has_credit = self.link(id).is_ok_and(|link| link.role == Role::Sender && link.credit > 0);
        has_credit && self.remote_window > 0 && self.waiting.is_empty() && !self.is_ending()
    }

    /// Sends a message, as far as the window allows. The rest is copied and waits.
    pub(crate) fn send(
        &mut self,
        id: LinkId,
        message: &Outbound<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<DeliveryId, SendError> {
        if shared.output.pending() > shared.config.max_transmit {
            return Err(SendError::BufferFull);
        }
        let tag = DeliveryTag::new(message.tag).ok_or(SendError::Tag)?;
        let link = self.attached(id, Role::Sender)?;
        let credit = link.credit.checked_sub(1).ok_or(SendError::NoCredit)?;
        if !message.settled {
            if link.unsettled as usize >= shared.config.max_unsettled {
                return Err(SendError::TooManyUnsettled);
            }
            link.unsettled += 1;
        }
        link.credit = credit;
        link.delivery_count = link.delivery_count.wrapping_add(1);
        let delivery = DeliveryId(shared.counters.next_serial());
        let Outbound { message_format, settled, .. } = *message;
        let mut head = Head { handle: id.handle, delivery, tag, message_format, settled, wire_id: None };
        let mut rest = message.payload;
        let complete = self.waiting.is_empty() && self.write_frames(&mut head, &mut rest, shared.output);
        if !complete {
            shared.output.waiting += rest.len();
            self.waiting.push_back(Waiting { head, rest: Bytes::copy_from_slice(rest) });
        }
        Ok(delivery)
    }

    /// Sends what has waited for the window.
    pub(super) fn send_waiting(&mut self, shared: &mut Shared<'_>) {
        while let Some(mut waiting) = self.waiting.pop_front() {
            let before = waiting.rest.len();
            let mut head = waiting.head;
            let complete = self.write_frames(&mut head, &mut waiting.rest, shared.output);
            shared.output.waiting -= before - waiting.rest.len();
            if !complete {
                waiting.head = head;
                self.waiting.push_front(waiting);
                return;
            }
        }
        self.waiting = VecDeque::new();
    }

    /// Writes frames until the message is complete or the window is used up; returns whether it is complete.
    fn write_frames(&mut self, head: &mut Head, rest: &mut impl Buf, output: &mut Output) -> bool {
        loop {
            let Some(window) = self.remote_window.checked_sub(1) else {
                return false;
            };
            let wire_id = head.wire_id.unwrap_or_else(|| self.new_delivery(head));
            head.wire_id = Some(wire_id);
            // The length of the performative does not depend on `more`.
            let room = output.max_frame_size().saturating_sub(MAX_TRANSFER_FRAME).max(1);
            let len = rest.remaining().min(room);
            let more = len < rest.remaining();
            let transfer = Transfer {
                handle: head.handle.into(),
                delivery_id: Some(wire_id),
                delivery_tag: Some(head.tag.as_bytes()),
                message_format: Some(head.message_format),
                settled: Some(head.settled),
                more,
                ..Transfer::default()
            };
            let payload = rest.chunk().get(..len).unwrap_or_default();
            let sent = output.frame_with_payload(self.id.channel, Performative::Transfer(transfer), payload);
            debug_assert!(sent.is_ok(), "the room was computed so that the frame fits");
            rest.advance(len);
            self.remote_window = window;
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            if !more {
                return true;
            }
        }
    }

    /// Gives a message its delivery-id, when its first frame is sent.
    fn new_delivery(&mut self, head: &Head) -> u32 {
        let wire_id = self.next_delivery_id;
        self.next_delivery_id = wire_id.wrapping_add(1);
        if !head.settled {
            let Head { handle, delivery, .. } = *head;
            self.sent.push_back(Sent { wire_id, handle, delivery, decided: false });
        }
        wire_id
    }

    /// Drops the messages of a link that has ended.
    pub(super) fn forget_sent(&mut self, id: LinkId, shared: &mut Shared<'_>) {
        for waiting in mem::take(&mut self.waiting) {
            if waiting.head.handle == id.handle {
                shared.output.waiting -= waiting.len();
            } else {
                self.waiting.push_back(waiting);
            }
        }
        self.sent.retain(|sent| sent.handle != id.handle);
        self.release_sent();
    }

    /// Frees the memory of an empty table.
    pub(super) fn release_sent(&mut self) {
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
    }
}

/// Bytes of a transfer frame without payload, at most: 8 of the header, 3 of the descriptor, 3 of the list, 34 of the tag,
/// 15 of handle, delivery-id and format, 7 of the other fields.
const MAX_TRANSFER_FRAME: usize = 70;
