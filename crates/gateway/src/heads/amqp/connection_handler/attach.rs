//! Links: which the hub accepts, by their addresses and the rights of the callers.

use ferrohub_amqp::performative::{AmqpError, Attach, SenderSettleMode, condition};
use ferrohub_amqp::{Connection as Machine, LinkId};
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::log_limited;
use ferrohub_core::metrics::count;
use tracing::debug;

use super::{ConnectionHandler, Link};
use crate::admission::CallerName;
use crate::heads::amqp::address::{Purpose, address};
use crate::heads::amqp::errors::ErrorText;
use crate::heads::amqp::faults;
use crate::heads::amqp::limits::{feed_grant, message_grant, token_grant};
use crate::heads::amqp::receivers::ReceiverInfo;

impl ConnectionHandler {
    pub(super) fn attach(&mut self, machine: &mut Machine, link: LinkId, attach: &Attach<'_>) {
        let accepted = match self.check_attach(attach) {
            Ok((purpose, caller)) => {
                let grant = match purpose {
                    Purpose::Messages => message_grant(),
                    Purpose::Feed(_) => feed_grant(),
                    Purpose::Tokens | Purpose::TokenAnswers => token_grant(),
                };
                machine.accept_link(link, &grant).map(|()| {
                    // The link was accepted, so it has a session.
                    if let Some(session) = machine.session_of(link) {
                        if let (Purpose::Feed(feed), Some(caller)) = (purpose, caller.clone()) {
                            let settled = attach.snd_settle_mode == Some(SenderSettleMode::Settled);
                            self.receivers.add(link, ReceiverInfo { feed, caller, settled });
                        }
                        self.links.push(Link { id: link, session, purpose, caller });
                    }
                })
            }
            // Without the text if the client's frames are too small for it.
            Err(reason) => machine
                .refuse_link(link, &reason.get())
                .or_else(|_| machine.refuse_link(link, &reason.without_text())),
        };
        if let Err(error) = accepted {
            debug!(peer = %self.peer.address, %error, "cannot answer an attach");
            // An answer that does not fit into the client's frames, because of its own names.
            let _ = machine.refuse_link(link, &AmqpError::new(condition::INVALID_FIELD));
        }
        self.send_answers(machine);
    }

    /// Decides about a link by its address and the rights of the callers.
    pub(super) fn check_attach(
        &self,
        attach: &Attach<'_>,
    ) -> Result<(Purpose, Option<CallerName>), ErrorText> {
        let refuse = |reason: &'static str, remedy: &'static str| {
            count(&self.context.metrics.refused_links, reason);
            let address = excerpt(address(attach));
            log_limited!(info, "link refused", reason, peer = %self.peer.address, address, remedy);
        };
        let purpose = Purpose::of(attach);
        if let Some(purpose @ (Purpose::Tokens | Purpose::TokenAnswers)) = purpose {
            return Ok((purpose, None));
        }
        if self.callers.is_empty() {
            refuse(
                "link_before_token",
                "send a token to $cbs first, or use SASL PLAIN; devices cannot use AMQP, only services",
            );
            return Err(ErrorText::unauthorized("Unauthorized"));
        }
        let Some((purpose, operation)) =
            purpose.and_then(|purpose| purpose.operation().map(|operation| (purpose, operation)))
        else {
            refuse(
                "unknown_address",
                "the hub has $cbs, /messages/devicebound, /messages/serviceBound/feedback and \
                 /messages/serviceBound/filenotifications; read events over HTTPS",
            );
            return Err(ErrorText::unknown_address(excerpt(address(attach))));
        };
        match self.callers.for_link(operation) {
            Ok(caller) => {
                let injected = match purpose {
                    Purpose::Feed(_) => faults::injected_error(&self.context.hub, operation, None),
                    _ => None,
                };
                injected.map_or(Ok((purpose, Some(caller))), |error| {
                    count(&self.context.metrics.refused_links, "fault_injected");
                    Err(ErrorText::of(&error))
                })
            }
            // The core logs it.
            Err(error) => {
                count(&self.context.metrics.refused_links, "no_right");
                Err(ErrorText::of(&error))
            }
        }
    }
}
