//! Who the client is: SASL, tokens and their end.

use std::task::{Context, Poll};

use ferrohub_amqp::performative::SaslInit;
use ferrohub_amqp::{Connection as Machine, Owned, ProtocolError};
use ferrohub_core::{ServiceCaller, log_limited};
use ferrohub_model::HubError;
use tokio::time::Instant;
use tracing::debug;

use super::{ConnectionHandler, Link, TOKEN_INVALID};
use crate::heads::amqp::address::Purpose;
use crate::heads::amqp::callers::Revoked;
use crate::heads::amqp::errors::ErrorText;
use crate::heads::amqp::limits::REVOKED_TIMEOUT;
use crate::heads::amqp::violation::End;
use crate::heads::amqp::work;

impl ConnectionHandler {
    /// Ready when a credential is no longer valid.
    pub(in crate::heads::amqp) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<Revoked> {
        self.callers.poll_revoked(cx)
    }

    /// The credential of a caller has expired or was revoked: its links end, unless another token of the caller covers them.
    ///
    /// If it was the only caller, one link is detached with the reason: of the detached links of a client of one identity,
    /// Node survives only one. On the others the client can do nothing. They go on if it renews the credential, except those
    /// for events; else it is disconnected.
    pub(in crate::heads::amqp) fn revoke(&mut self, machine: &mut Machine, revoked: &Revoked) {
        let detached = if self.callers.is_empty() {
            self.deadline = Some(Instant::now() + REVOKED_TIMEOUT);
            1
        } else {
            usize::MAX
        };
        let reason = ErrorText::unauthorized(TOKEN_INVALID);
        for link in self.links.iter_mut().filter(|link| link.caller == Some(revoked.id)) {
            if let Some(other) = self.callers.instead_of(revoked, &link.purpose) {
                link.caller = Some(other);
                self.receivers.set_caller(link.id, other);
            }
        }
        self.receivers.stop(revoked.id);
        // No events are sent either on the links that are not detached.
        for link in self.links.iter().filter(|link| link.caller == Some(revoked.id)) {
            self.readers.remove(|ended| ended == link.id);
        }
        let of_caller = self.links.extract_if(.., |link| link.caller == Some(revoked.id));
        for link in of_caller.take(detached) {
            // If the link is detached already, the client does not expect a reason.
            let _ = machine.detach(link.id, Some(&reason.get()));
            self.receivers.remove(|ended| ended == link.id);
        }
        debug!(peer = %self.peer.address, "a credential of an AMQP connection is no longer valid");
    }

    /// The client has proved who it is, for the first time or again. Returns an error if the hub does not admit it.
    pub(super) fn authenticate(
        &mut self,
        machine: &mut Machine,
        caller: ServiceCaller,
    ) -> Result<Result<(), HubError>, End> {
        if let Err(error) = self.callers.add(caller, &self.context.caller_connections) {
            log_limited!(
                info,
                "connect refused",
                "too_many_connections",
                peer = %self.peer.address,
                protocol = self.peer.protocol,
                error = &*error.message,
                remedy = "close idle connections, or raise limits.amqp_connections_per_caller"
            );
            return Ok(Err(error));
        }
        if !self.slot.mark_authenticated() {
            return Err(End::Evicted);
        }
        machine.set_authenticated();
        self.authenticated = true;
        self.deadline = None;
        self.end_links_without_right(machine);
        Ok(Ok(()))
    }

    /// Detaches links whose caller has put a token without the right, or is gone while another one has come. Also links for
    /// events whose readers have ended with an earlier token: their clients would wait for ever.
    pub(super) fn end_links_without_right(&mut self, machine: &mut Machine) {
        let (callers, readers) = (&self.callers, &self.readers);
        let has_right = |link: &Link| {
            let caller = link.caller.and_then(|id| callers.get(id));
            caller.map_or(link.purpose.operation().is_none(), |caller| link.purpose.is_open_to(caller))
        };
        let is_stopped =
            |link: &Link| matches!(link.purpose, Purpose::Events(_)) && !readers.contains(link.id);
        let mut ended = Vec::new();
        let reason = ErrorText::unauthorized(TOKEN_INVALID);
        for link in self.links.extract_if(.., |link| !has_right(link) || is_stopped(link)) {
            // If the link is detached already, the client does not expect a reason.
            let _ = machine.detach(link.id, Some(&reason.get()));
            ended.push(link.id);
        }
        self.receivers.remove(|link| ended.contains(&link));
        self.readers.remove(|link| ended.contains(&link));
    }

    /// PLAIN proves who the client is. The other mechanisms prove nothing: a token for `$cbs` follows.
    pub(super) fn choose_sasl(
        &mut self,
        machine: &mut Machine,
        init: Owned<SaslInit<'static>>,
    ) -> Result<(), ProtocolError> {
        if init.get().mechanism.0 == "PLAIN" {
            self.work = Some(work::verify_plain(self.context.hub.clone(), self.peer.address, init));
            return Ok(());
        }
        machine.accept_sasl()
    }
}
