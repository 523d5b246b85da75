//! Feedback and file notifications: sent when there is credit, settled as the client decides.

use std::task::{Context, Poll};

use ferrohub_amqp::performative::{DeliveryState, Rejected};
use ferrohub_amqp::{Connection as Machine, LinkId, Outbound};
use ferrohub_core::cloud_to_device::Settlement;
use ferrohub_model::HubError;
use tracing::debug;

use super::{ConnectionHandler, TOKEN_INVALID};
use crate::heads::amqp::errors::ErrorText;
use crate::heads::amqp::feed::Item;
use crate::heads::amqp::receivers::ReceiverInfo;
use crate::heads::amqp::work::{self, Confirm};

impl ConnectionHandler {
    /// Gives back what the client has received and not settled, when the connection has ended.
    pub(in crate::heads::amqp) fn release_items(&mut self) {
        self.receivers.release_all();
    }

    /// Ready when there is an item for a receiving link.
    pub(in crate::heads::amqp) fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(LinkId, Result<Item, HubError>)> {
        if self.is_idle() { self.receivers.poll(cx) } else { Poll::Pending }
    }

    /// Sends an item on a receiving link.
    pub(in crate::heads::amqp) fn send_item(
        &mut self,
        machine: &mut Machine,
        link: LinkId,
        item: Result<Item, HubError>,
    ) {
        let Some(ReceiverInfo { feed, caller, settled }) = self.receivers.info(link) else { return };
        self.record(feed.receive_operation(), item.as_ref().err());
        let (Ok(item), Some(caller)) = (item, self.callers.get(caller)) else { return };
        let tag = item.token.guid().to_dotnet_bytes();
        let message = Outbound { tag: &tag, message_format: 0, settled, payload: &item.message };
        let (hub, peer) = (&self.context.hub, self.peer.address);
        match machine.send(link, &message) {
            Ok(_) if settled => {
                let settling = (feed, item.token, Settlement::Complete);
                self.work = Some(work::settle_item(hub.clone(), caller.clone(), peer, settling, None));
            }
            Ok(delivery) => self.receivers.lock(link, delivery, item.token, caller.clone()),
            // The link was detached, or its credit taken back, meanwhile.
            Err(error) => {
                debug!(peer = %peer, %error, "an item cannot be sent and is given back");
                // An error means that the caller's right was revoked: the lock runs out.
                let _ = feed.release(caller, item.token);
            }
        }
    }

    /// Sends what there is for a link, then gives its credit back.
    pub(super) fn drain(&mut self, machine: &mut Machine, link: LinkId) {
        if self.readers.drain(link) {
            return;
        }
        let info = self.receivers.drain(link).filter(|_| self.is_idle() && machine.credit(link) > 0);
        let caller = info.as_ref().and_then(|info| self.callers.get(info.caller));
        if let (Some(info), Some(caller)) = (&info, caller) {
            let (hub, peer) = (self.context.hub.clone(), self.peer.address);
            self.work = Some(work::drain(hub, caller.clone(), peer, info.feed, link));
        } else {
            // An error means that the link is detached.
            let _ = machine.drained(link);
        }
    }

    /// Settles an item as its receiver has decided.
    pub(super) fn settle_item(&mut self, machine: &mut Machine, confirm: Confirm, settled: bool) {
        let Confirm { link, delivery, settlement } = confirm;
        let Some((ReceiverInfo { feed, caller, .. }, token)) = self.receivers.unlock(link, delivery) else {
            return;
        };
        let confirm = (!settled).then_some(confirm);
        let Some(caller) = self.callers.get(caller) else {
            let error = ErrorText::unauthorized(TOKEN_INVALID);
            confirm_settlement(machine, confirm, Some(&error));
            return;
        };
        let (hub, peer) = (self.context.hub.clone(), self.peer.address);
        self.work = Some(work::settle_item(hub, caller.clone(), peer, (feed, token, settlement), confirm));
    }
}

/// Settles a delivery whose receiver waits for that, with the receiver's decision or with the error.
pub(super) fn confirm_settlement(machine: &mut Machine, confirm: Option<Confirm>, error: Option<&ErrorText>) {
    let Some(Confirm { link, delivery, settlement }) = confirm else { return };
    let state = match (error, settlement) {
        (Some(error), _) => DeliveryState::Rejected(Rejected { error: Some(error.get()) }),
        (None, Settlement::Complete) => DeliveryState::Accepted,
        (None, Settlement::Reject) => DeliveryState::Rejected(Rejected { error: None }),
        (None, Settlement::Abandon) => DeliveryState::Released,
    };
    // An error means that the link is detached.
    let _ = machine.settle_sent(link, delivery, &state);
}
