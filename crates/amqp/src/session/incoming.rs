//! Transfers that arrive, and the assembly of deliveries (AMQP §2.6.14).

use bytes::BytesMut;

use super::{
    Session, Shared, Violation,
    link::{LinkStage, Partial},
};
use crate::{
    Delivery, Event,
    assembler::FrameBytes,
    ids::{DeliveryTag, LinkId, Unsettled},
    performative::{Role, Transfer, condition},
};

impl Session {
    pub(super) fn handle_transfer(
        &mut self,
        transfer: &Transfer<'_>,
        payload: &[u8],
        frame: &FrameBytes<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<(), Violation> {
        if !self.count_transfer(shared) {
            return Err(Violation::Session(condition::WINDOW_VIOLATION, "the incoming window is used up"));
        }
        let Some(link) = self.by_remote_handle(transfer.handle) else {
            return Err(Violation::Session(
                condition::UNATTACHED_HANDLE,
                "a transfer for a link that is not attached",
            ));
        };
        let id = link.id;
        match link.stage {
            // Transfers may cross our detach.
            LinkStage::Detaching { .. } => return Ok(()),
            LinkStage::Attached if link.role == Role::Receiver => {}
            _ => return Err(Violation::Session(condition::NOT_ALLOWED, "a transfer of the receiver")),
        }
        let mut partial = match link.partial.take() {
            None => {
                let Some(delivery) = transfer.delivery_id else {
                    return Err(Violation::Session(
                        condition::INVALID_FIELD,
                        "a transfer without a delivery-id",
                    ));
                };
                let Some(tag) = DeliveryTag::new(transfer.delivery_tag.unwrap_or_default()) else {
                    return Err(Violation::Session(
                        condition::INVALID_FIELD,
                        "a delivery-tag of more than 32 bytes",
                    ));
                };
                let Some(credit) = link.credit.checked_sub(1) else {
                    return self.detach_forced(id, condition::TRANSFER_LIMIT_EXCEEDED, shared);
                };
                link.credit = credit;
                link.delivery_count = link.delivery_count.wrapping_add(1);
                let message_format = transfer.message_format.unwrap_or(0);
                Partial { id: delivery, tag, message_format, settled: false, payload: BytesMut::new() }
            }
            Some(partial) => {
                shared.counters.assembly -= partial.payload.len();
                if transfer.delivery_id.is_some_and(|delivery| delivery != partial.id) {
                    return Err(Violation::Session(
                        condition::NOT_ALLOWED,
                        "a delivery began before the previous one of the link was complete",
                    ));
                }
                *partial
            }
        };
        if transfer.aborted == Some(true) {
            return self.renew_credit(id, shared);
        }
        partial.settled |= transfer.settled == Some(true);
        let len = partial.payload.len().saturating_add(payload.len());
        if link.max_message_size > 0 && len as u64 > link.max_message_size {
            return self.detach_forced(id, condition::MESSAGE_SIZE_EXCEEDED, shared);
        }
        if transfer.more {
            if shared.counters.assembly.saturating_add(len) > shared.config.max_assembly {
                return self.detach_forced(id, condition::RESOURCE_LIMIT_EXCEEDED, shared);
            }
            shared.counters.assembly += len;
            partial.payload.extend_from_slice(payload);
            link.partial = Some(Box::new(partial));
            return Ok(());
        }
        let whole = if partial.payload.is_empty() {
            frame.keep(payload)
        } else {
            partial.payload.extend_from_slice(payload);
            partial.payload.split().freeze()
        };
        let unsettled = (!partial.settled).then(|| {
            link.unsettled = link.unsettled.saturating_add(1);
            Unsettled { link: id, id: partial.id }
        });
        shared.output.event(Event::Delivery(Delivery {
            link: id,
            tag: partial.tag,
            message_format: partial.message_format,
            payload: whole,
            unsettled,
        }));
        self.renew_credit(id, shared)
    }

    /// Drops the deliveries of a link that has ended.
    pub(super) fn forget_deliveries(&mut self, id: LinkId, shared: &mut Shared<'_>) {
        if let Some(link) = self.position(id.handle).ok().and_then(|at| self.links.get_mut(at)) {
            shared.counters.assembly -= link.partial_len();
            link.partial = None;
        }
        self.forget_sent(id, shared);
    }
}
