//! Links: which the hub accepts, by their addresses and the rights of the callers.

use bytes::BytesMut;
use ferrohub_amqp::performative::{AmqpError, Attach, SenderSettleMode, condition};
use ferrohub_amqp::{Connection as Machine, Encoder, LinkId, Map, Owned};
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::log_limited;
use ferrohub_core::metrics::count;
use tracing::debug;

use super::{ConnectionHandler, Link};
use crate::heads::amqp::address::{Purpose, Redirect, address};
use crate::heads::amqp::callers::CallerId;
use crate::heads::amqp::errors::ErrorText;
use crate::heads::amqp::faults;
use crate::heads::amqp::limits::{event_grant, feed_grant, management_grant, message_grant, token_grant};
use crate::heads::amqp::receivers::ReceiverInfo;

/// A link that its caller may use.
pub(in crate::heads::amqp) struct Accepted {
    pub(super) purpose: Purpose,
    pub(super) caller: Option<CallerId>,
    /// The target of a link that receives answers.
    reply_address: Option<String>,
}

impl ConnectionHandler {
    pub(super) fn attach(&mut self, machine: &mut Machine, link: LinkId, attach: Owned<Attach<'static>>) {
        let attach = attach.get();
        match self.check_attach(&attach) {
            Ok(Accepted { purpose: Purpose::Redirect(redirect), .. }) => {
                self.redirect(machine, link, &redirect);
            }
            Ok(accepted @ Accepted { purpose: Purpose::Events(_), .. }) => {
                self.open_reader(machine, link, accepted, &attach);
            }
            Ok(accepted) => {
                self.accept_link(machine, link, accepted, attach.snd_settle_mode);
            }
            Err(reason) => self.refuse_link(machine, link, &reason),
        }
        self.send_answers(machine);
    }

    /// Accepts a link. Returns whether the client has it.
    pub(super) fn accept_link(
        &mut self,
        machine: &mut Machine,
        link: LinkId,
        accepted: Accepted,
        mode: Option<SenderSettleMode>,
    ) -> bool {
        let Accepted { purpose, caller, reply_address } = accepted;
        let grant = match purpose {
            Purpose::Messages => message_grant(),
            Purpose::Feed(_) => feed_grant(),
            Purpose::Events(_) | Purpose::Redirect(_) => event_grant(),
            Purpose::Management | Purpose::ManagementAnswers => management_grant(),
            Purpose::Tokens | Purpose::TokenAnswers => token_grant(),
        };
        if let Err(error) = machine.accept_link(link, &grant) {
            debug!(peer = %self.peer.address, %error, "cannot answer an attach");
            // An answer that does not fit into the client's frames, because of its own names.
            let _ = machine.refuse_link(link, &AmqpError::new(condition::INVALID_FIELD));
            return false;
        }
        // The link was accepted, so it has a session.
        let Some(session) = machine.session_of(link) else { return false };
        if let (Purpose::Feed(feed), Some(caller)) = (&purpose, caller) {
            let settled = mode == Some(SenderSettleMode::Settled);
            self.receivers.add(link, ReceiverInfo { feed: *feed, caller, settled });
        }
        // A client has few links, and keeps them.
        self.links.reserve_exact(1);
        self.links.push(Link { id: link, session, purpose, caller, reply_address });
        true
    }

    pub(super) fn refuse_link(&self, machine: &mut Machine, link: LinkId, reason: &ErrorText) {
        // Without the text if the client's frames are too small for it.
        let refused = machine
            .refuse_link(link, &reason.get())
            .or_else(|_| machine.refuse_link(link, &reason.without_text()));
        if let Err(error) = refused {
            debug!(peer = %self.peer.address, %error, "cannot answer an attach");
            let _ = machine.refuse_link(link, &AmqpError::new(condition::INVALID_FIELD));
        }
    }

    /// Tells the client the address of the event hub.
    fn redirect(&self, machine: &mut Machine, link: LinkId, redirect: &Redirect) {
        let host = self.context.hub.host();
        let address = redirect.address(host);
        let mut info = BytesMut::new();
        Encoder::new(&mut info).map(|map| {
            for name in ["hostname", "network-host"] {
                map.symbol(name);
                map.string(host);
            }
            map.symbol("port");
            map.uint(Redirect::port().into());
            map.symbol("address");
            map.string(&address);
        });
        let error = AmqpError::new(LINK_REDIRECT);
        let refused = match Map::decode(&info) {
            Ok(info) => machine.refuse_link(link, &error.with_info(info)),
            Err(_) => machine.refuse_link(link, &error),
        };
        if let Err(error) = refused {
            debug!(peer = %self.peer.address, %error, "cannot answer an attach");
            let _ = machine.refuse_link(link, &AmqpError::new(condition::INVALID_FIELD));
        }
    }

    /// Decides about a link by its address and the rights of the callers.
    fn check_attach(&self, attach: &Attach<'_>) -> Result<Accepted, ErrorText> {
        let refuse = |reason: &'static str, remedy: &'static str| {
            count(&self.context.metrics.refused_links, reason);
            let address = excerpt(address(attach));
            log_limited!(info, "link refused", reason, peer = %self.peer.address, address, remedy);
        };
        let purpose = Purpose::of(attach, self.context.hub.host());
        if let Some(purpose @ (Purpose::Tokens | Purpose::TokenAnswers)) = purpose {
            return Ok(Accepted { purpose, caller: None, reply_address: None });
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
                "the hub has $cbs, /messages/devicebound, /messages/serviceBound/feedback, \
                 /messages/serviceBound/filenotifications, and the event hub that EntityPath in \
                 EVENTHUB_CONNECTION_STRING of `ferrohub env` names",
            );
            return Err(ErrorText::unknown_address(excerpt(address(attach))));
        };
        match self.callers.for_link(&purpose) {
            Ok(caller) => {
                let injected = match purpose {
                    Purpose::Feed(_) | Purpose::Events(_) => {
                        faults::injected_error(&self.context.hub, operation, None)
                    }
                    _ => None,
                };
                let target = attach.target.and_then(|target| target.address);
                let reply_address =
                    target.filter(|_| purpose == Purpose::ManagementAnswers).map(str::to_owned);
                injected.map_or(Ok(Accepted { purpose, caller: Some(caller), reply_address }), |error| {
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

/// The condition of an address that another one replaces.
const LINK_REDIRECT: &str = "amqp:link:redirect";
