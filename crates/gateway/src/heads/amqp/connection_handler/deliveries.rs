//! Messages that the client sends, and the answers of `$cbs`.

use ferrohub_amqp::performative::{DeliveryState, Rejected};
use ferrohub_amqp::{Connection as Machine, Delivery, Event, Outbound, SendError, Unsettled};
use ferrohub_core::Operation;
use ferrohub_model::HubError;

use super::{ConnectionHandler, Link, TOKEN_INVALID};
use crate::heads::amqp::address::Purpose;
use crate::heads::amqp::errors::ErrorText;
use crate::heads::amqp::limits::{MAX_BATCH, MAX_PENDING_ANSWERS};
use crate::heads::amqp::work;

impl ConnectionHandler {
    pub(super) fn receive(&mut self, machine: &mut Machine, delivery: Delivery) {
        let Some(link) = self.links.iter().find(|link| link.id == delivery.link) else {
            // The link was detached meanwhile.
            return;
        };
        let (hub, peer) = (&self.context.hub, self.peer.address);
        let caller = link.caller.and_then(|id| self.callers.get(id));
        match (&link.purpose, caller) {
            (Purpose::Messages, Some(caller)) => {
                let (hub, caller) = (hub.clone(), caller.clone());
                let deliveries = self.with_following(machine, delivery);
                self.work = Some(work::send_messages(hub, caller, peer, deliveries));
            }
            (Purpose::Messages, None) => {
                self.context.metrics.amqp_operations.count(Some(Operation::SendMessage), 401);
                reject(machine, delivery.unsettled, &ErrorText::unauthorized(TOKEN_INVALID))
            }
            (Purpose::Tokens, _) if self.answers.len() < MAX_PENDING_ANSWERS => {
                // Python repeats a token that is answered but not settled.
                if let Some(unsettled) = delivery.unsettled {
                    let _ = machine.settle(unsettled, &DeliveryState::Accepted);
                }
                self.work = Some(work::verify_token(hub.clone(), peer, link.session, delivery.payload));
            }
            (Purpose::Tokens, _) => reject(
                machine,
                delivery.unsettled,
                &ErrorText::too_many(
                    "Too many answers wait: give credit on the link that receives from $cbs.",
                ),
            ),
            (Purpose::Management, Some(caller)) if self.answers.len() < MAX_PENDING_ANSWERS => {
                if let Some(unsettled) = delivery.unsettled {
                    let _ = machine.settle(unsettled, &DeliveryState::Accepted);
                }
                let (hub, caller, created) = (hub.clone(), caller.clone(), self.context.started);
                self.work = Some(work::manage(hub, caller, peer, created, link.session, delivery.payload));
            }
            (Purpose::Management, Some(_)) => reject(
                machine,
                delivery.unsettled,
                &ErrorText::too_many(
                    "Too many answers wait: give credit on the link that receives from $management.",
                ),
            ),
            (Purpose::Management, None) => {
                self.context.metrics.amqp_operations.count(Some(Operation::GetEventLog), 401);
                reject(machine, delivery.unsettled, &ErrorText::unauthorized(TOKEN_INVALID))
            }
            // The hub sends on this link, or has refused it.
            (
                Purpose::TokenAnswers
                | Purpose::ManagementAnswers
                | Purpose::Feed(_)
                | Purpose::Events(_)
                | Purpose::Redirect(_),
                _,
            ) => {}
        }
    }

    /// Takes the messages that have arrived behind one, on the links of the same caller: they wait for the disk together.
    fn with_following(&self, machine: &mut Machine, first: Delivery) -> Vec<Delivery> {
        let of = |link| self.links.iter().find(|known: &&Link| known.id == link);
        let caller = of(first.link).and_then(|link| link.caller);
        let mut deliveries = vec![first];
        while deliveries.len() < MAX_BATCH
            && let Some(Event::Delivery(next)) = machine.peek_event()
            && of(next.link).is_some_and(|link| link.purpose == Purpose::Messages && link.caller == caller)
            && let Some(Event::Delivery(next)) = machine.poll_event()
        {
            deliveries.push(next);
        }
        deliveries
    }

    /// Sends the answers for which there is a link with credit: in the session of their request, and with the target that
    /// the request names, if the client has attached such a link.
    pub(super) fn send_answers(&mut self, machine: &mut Machine) {
        let Self { answers, links, answered, .. } = self;
        answers.retain(|answer| {
            let fits = |link: &&Link| link.purpose == answer.purpose && link.session == answer.session;
            let wanted = |link: &&Link| answer.reply_to.is_some() && link.reply_address == answer.reply_to;
            let receivers = || links.iter().filter(fits);
            let link = receivers().find(wanted).or_else(|| receivers().next());
            let Some(link) = link.filter(|link| machine.credit(link.id) > 0) else { return true };
            *answered += 1;
            let tag = answered.to_be_bytes();
            let message = Outbound { tag: &tag, settled: true, payload: &answer.message, message_format: 0 };
            // While output is pending, the answer waits; it is sent with the next event.
            matches!(machine.send(link.id, &message), Err(SendError::BufferFull))
        });
    }
}

/// Tells the sender of a message what became of it.
pub(super) fn settle(machine: &mut Machine, unsettled: Option<Unsettled>, result: Result<(), HubError>) {
    match (result, unsettled) {
        // An error means that the link is detached.
        (Ok(()), Some(unsettled)) => drop(machine.settle(unsettled, &DeliveryState::Accepted)),
        (Ok(()), None) => {}
        (Err(error), unsettled) => reject(machine, unsettled, &ErrorText::of(&error)),
    }
}

/// Rejects a message, with an error: Node looks for the condition. Never released or modified: Python would send it again
/// or hang.
fn reject(machine: &mut Machine, unsettled: Option<Unsettled>, reason: &ErrorText) {
    if let Some(unsettled) = unsettled {
        let state = DeliveryState::Rejected(Rejected { error: Some(reason.get()) });
        // An error means that the link is detached.
        let _ = machine.settle(unsettled, &state);
    }
}
