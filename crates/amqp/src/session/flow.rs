//! Windows and credit (AMQP §2.5.6, 2.6.7).

use super::{Link, Session, Shared, Violation, link::LinkStage, state::INITIAL_OUTGOING_ID};
use crate::{
    Event, SendError,
    ids::LinkId,
    output::Output,
    performative::{Flow, Role},
};

impl Session {
    pub(super) fn handle_flow(&mut self, flow: &Flow<'_>, shared: &mut Shared<'_>) -> Result<(), Violation> {
        let seen = flow.next_incoming_id.unwrap_or(INITIAL_OUTGOING_ID);
        self.remote_window = remaining(seen, flow.incoming_window, self.next_outgoing_id);
        self.send_waiting(shared);
        // A handle without a link is a flow that has crossed our detach's answer, and harmless.
        let link = flow.handle.and_then(|handle| self.by_remote_handle(handle));
        let Some(link) = link.filter(|link| !link.is_gone()) else {
            if flow.echo && flow.handle.is_none() {
                self.write_flow(None, shared);
            }
            return Ok(());
        };
        let id = link.id;
        // The sender's flows say nothing about credit: pyamqp writes one of 10000 for links on which it sends.
        if let Some(credit) = flow.link_credit.filter(|_| link.role == Role::Sender) {
            let seen = flow.delivery_count.unwrap_or(0);
            link.credit = remaining(seen, credit, link.delivery_count);
            link.drain = flow.drain;
            // The credit of a link that is not accepted yet is reported when it is.
            if link.stage == LinkStage::Attached {
                link.report_credit(shared.output);
            }
        }
        if flow.echo {
            let attached = link.stage == LinkStage::Attached;
            self.write_flow(Some(id).filter(|_| attached), shared);
        }
        Ok(())
    }

    /// Changes how many messages of a link may be under way or unsettled at a time. Credit that was given is not taken
    /// back.
    pub(crate) fn set_max_credit(
        &mut self,
        id: LinkId,
        max_credit: u32,
        shared: &mut Shared<'_>,
    ) -> Result<(), SendError> {
        self.attached(id, Role::Receiver)?.max_credit = max_credit;
        let _ = self.renew_credit(id, shared);
        Ok(())
    }

    /// Gives back all credit of a link whose receiver wants it drained (AMQP §2.6.7).
    pub(crate) fn drained(&mut self, id: LinkId, shared: &mut Shared<'_>) -> Result<(), SendError> {
        let link = self.attached(id, Role::Sender)?;
        if link.drain {
            link.delivery_count = link.delivery_count.wrapping_add(link.credit);
            link.credit = 0;
            self.write_flow(Some(id), shared);
            self.attached(id, Role::Sender)?.drain = false;
        }
        Ok(())
    }

    /// Gives a sender new credit once half of it is used. Has no effect on links on which we send.
    pub(super) fn renew_credit(&mut self, id: LinkId, shared: &mut Shared<'_>) -> Result<(), Violation> {
        if let Ok(link) = self.attached(id, Role::Receiver) {
            let credit = link.max_credit.saturating_sub(link.unsettled);
            let threshold = (link.max_credit / 2).max(1);
            if credit >= link.credit.saturating_add(threshold) {
                link.credit = credit;
                self.write_flow(Some(id), shared);
            }
        }
        Ok(())
    }

    /// Counts a transfer frame of the peer, and renews the window before half of it is used: Node and Python stop for
    /// ever if a window runs out, and C reports errors.
    pub(super) fn count_transfer(&mut self, shared: &mut Shared<'_>) -> bool {
        let Some(left) = self.incoming_window.checked_sub(1) else {
            return false;
        };
        self.incoming_window = left;
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        if left <= shared.config.incoming_window / 2 {
            self.write_flow(None, shared);
        }
        true
    }

    /// Writes the state of the session and of a link. Every flow renews the window.
    pub(super) fn write_flow(&mut self, link: Option<LinkId>, shared: &mut Shared<'_>) {
        self.incoming_window = shared.config.incoming_window;
        let mut flow = Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: shared.config.incoming_window,
            ..Flow::default()
        };
        if let Some(link) = link.and_then(|id| self.link(id).ok()) {
            flow.handle = Some(link.id.handle.into());
            flow.delivery_count = Some(link.delivery_count);
            flow.link_credit = Some(link.credit);
            flow.available = Some(0);
            flow.drain = link.drain;
        }
        // A flow has less than 100 bytes, so it fits into the smallest frame.
        let _ = shared.output.frame(self.id.channel, flow);
    }
}

impl Link {
    pub(super) fn report_credit(&self, output: &mut Output) {
        output.event(Event::Credit { link: self.id, credit: self.credit, drain: self.drain });
    }
}

/// What is left of `allowed` after the receiver had seen everything before `seen`, when `next` is the sender's next.
fn remaining(seen: u32, allowed: u32, next: u32) -> u32 {
    let under_way = next.wrapping_sub(seen);
    // A receiver that claims to have seen what was not sent yet.
    let under_way = if under_way > u32::MAX / 2 { 0 } else { under_way };
    allowed.saturating_sub(under_way)
}

#[cfg(test)]
mod tests {
    use super::remaining;

    #[test]
    fn windows_wrap_around() {
        assert_eq!(remaining(7, 10, 7), 10);
        assert_eq!(remaining(7, 10, 9), 8);
        assert_eq!(remaining(u32::MAX, 10, 1), 8);
        assert_eq!(remaining(0, 5, 100), 0);
        assert_eq!(remaining(0, u32::MAX, 1), u32::MAX - 1);
        assert_eq!(remaining(2, 10, 1), 10);
    }
}
