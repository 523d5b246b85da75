//! Settling deliveries (AMQP §2.6.12).

use super::{Session, Shared, Violation};
use crate::{
    Event, SendError,
    ids::{DeliveryId, LinkId, Unsettled},
    performative::{DeliveryState, Disposition, Outcome, Role},
};

impl Session {
    /// Settles a message that was received.
    pub(crate) fn settle(
        &mut self,
        unsettled: &Unsettled,
        state: &DeliveryState<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<(), SendError> {
        self.attached(unsettled.link, Role::Receiver)?;
        self.write_disposition(Role::Receiver, unsettled.id, state, shared)?;
        let link = self.attached(unsettled.link, Role::Receiver)?;
        link.unsettled = link.unsettled.saturating_sub(1);
        let renewed = self.renew_credit(unsettled.link, shared);
        debug_assert_eq!(renewed, Ok::<(), Violation>(()));
        Ok(())
    }

    /// Settles a message that we sent and whose receiver waits for that (receiver settle mode "second").
    pub(crate) fn settle_sent(
        &mut self,
        id: LinkId,
        delivery: DeliveryId,
        state: &DeliveryState<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<(), SendError> {
        self.attached(id, Role::Sender)?;
        let at = self.sent.iter().position(|sent| sent.delivery == delivery).ok_or(SendError::Detached)?;
        let wire_id = self.sent.get(at).map(|sent| sent.wire_id).ok_or(SendError::Detached)?;
        self.write_disposition(Role::Sender, wire_id, state, shared)?;
        self.sent.remove(at);
        self.settled(id.handle);
        self.release_sent();
        Ok(())
    }

    pub(super) fn handle_disposition(&mut self, disposition: &Disposition<'_>, shared: &mut Shared<'_>) {
        // A sender may tell that it has settled what we have not: our own disposition follows, and is harmless.
        if disposition.role == Role::Sender {
            return;
        }
        let Some(oldest) = self.sent.front().map(|sent| sent.wire_id) else {
            return;
        };
        let outcome = disposition.state.as_ref().and_then(Outcome::from_state);
        if outcome.is_none() && !disposition.settled {
            return;
        }
        let last = disposition.last.unwrap_or(disposition.first);
        let distance = |wire_id: u32| wire_id.wrapping_sub(oldest) as i32;
        // The table is sorted by ids that may have gaps: those of other links, and those that are settled.
        let mut at = self.sent.partition_point(|sent| distance(sent.wire_id) < distance(disposition.first));
        while let Some(sent) = self.sent.get_mut(at) {
            if distance(sent.wire_id) > distance(last) {
                break;
            }
            // A decision is reported once, however often the receiver repeats it.
            let report = !sent.decided || disposition.settled;
            sent.decided = true;
            let sent = *sent;
            let link = self.position(sent.handle).ok().and_then(|at| self.links.get(at)).map(|link| link.id);
            if let Some(link) = link.filter(|_| report) {
                let (delivery, settled) = (sent.delivery, disposition.settled);
                shared.output.event(Event::Outcome { link, delivery, outcome: outcome.clone(), settled });
            }
            if disposition.settled {
                self.sent.remove(at);
                self.settled(sent.handle);
            } else {
                at += 1;
            }
        }
        self.release_sent();
    }

    fn settled(&mut self, handle: u16) {
        if let Some(link) = self.position(handle).ok().and_then(|at| self.links.get_mut(at)) {
            link.unsettled = link.unsettled.saturating_sub(1);
        }
    }

    fn write_disposition(
        &self,
        role: Role,
        wire_id: u32,
        state: &DeliveryState<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<(), SendError> {
        let disposition = Disposition {
            role,
            first: wire_id,
            last: Some(wire_id),
            settled: true,
            state: Some(*state),
            batchable: None,
        };
        shared.output.frame(self.id.channel, disposition)
    }
}
