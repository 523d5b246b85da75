//! Handles what a client does: calls the hub, and answers.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use ferrohub_amqp::performative::{
    Attach, DeliveryState, Rejected, SaslCode, SaslInit, SenderSettleMode, condition,
};
use ferrohub_amqp::{
    Connection as Machine, Delivery, Event, LinkId, Outbound, Owned, ProtocolError, SendError, SessionId,
    Unsettled,
};
use ferrohub_core::cloud_to_device::Settlement;
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::metrics::count;
use ferrohub_core::{Operation, ServiceCaller, log_limited};
use ferrohub_model::HubError;
use tokio::time::Instant;
use tracing::debug;

use super::address::{Purpose, address};
use super::callers::Callers;
use super::cbs;
use super::errors::{self, ErrorText};
use super::faults;
use super::feed::{self, Item};
use super::limits::{MAX_PENDING_ANSWERS, REVOKED_TIMEOUT, feed_grant, message_grant, token_grant};
use super::receivers::{ReceiverInfo, Receivers};
use super::server::AmqpContext;
use super::violation::End;
use super::work::{self, Confirm, Work, WorkOutput};
use crate::admission::CallerName;
use crate::transport::peer::Peer;
use crate::transport::tcp::ConnectionSlot;

/// The text that Azure sends when a credential is no longer valid.
const TOKEN_INVALID: &str = "Token Invalid.";

/// A link that the hub has accepted.
struct Link {
    id: LinkId,
    session: SessionId,
    purpose: Purpose,
    /// Who may use it; `None` for the links of `$cbs`.
    caller: Option<CallerName>,
}

/// An answer of `$cbs` that waits until the client gives credit: Python and C send a token before that.
struct Answer {
    session: SessionId,
    message: BytesMut,
}

/// The hub's side of one connection.
pub(super) struct ConnectionHandler {
    context: AmqpContext,
    pub(super) peer: Peer,
    pub(super) slot: ConnectionSlot,
    callers: Callers,
    /// Whether the client has ever proved who it is.
    authenticated: bool,
    /// When the connection ends because the client's credential is no longer valid.
    pub(super) deadline: Option<Instant>,
    links: Vec<Link>,
    receivers: Receivers,
    answers: VecDeque<Answer>,
    /// Numbers the answers, for their delivery tags.
    answered: u128,
    work: Option<Work>,
}

impl ConnectionHandler {
    pub(super) fn new(context: AmqpContext, peer: Peer, slot: ConnectionSlot) -> Self {
        Self {
            context,
            peer,
            slot,
            callers: Callers::default(),
            authenticated: false,
            deadline: None,
            links: Vec::new(),
            receivers: Receivers::default(),
            answers: VecDeque::new(),
            answered: 0,
            work: None,
        }
    }

    /// Returns whether the client has proved who it is.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Returns whether no operation is pending, so that input may be handled.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// Polls the pending operation.
    pub(super) fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<WorkOutput> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let output = ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(output)
    }

    /// Waits for the pending operation when the connection ends.
    pub(super) async fn finish_work(&mut self, machine: &mut Machine) {
        if let Some(work) = self.work.take() {
            // The connection ends anyway.
            let _ = self.respond(machine, work.await);
        }
    }

    /// Gives back what the client has received and not settled, when the connection has ended.
    pub(super) async fn release_items(&mut self) {
        self.receivers.release_all().await;
    }

    /// Ready when there is an item for a receiving link.
    pub(super) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<(LinkId, Result<Item, HubError>)> {
        if self.is_idle() { self.receivers.poll(cx) } else { Poll::Pending }
    }

    /// Ready when a credential is no longer valid.
    pub(super) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<CallerName> {
        self.callers.poll_revoked(cx)
    }

    /// The credential of a caller has expired or was revoked: its links end.
    ///
    /// If it was the only caller, one link is detached with the reason: of the detached links of a client of one identity,
    /// Node survives only one. On the others the client can do nothing. It may renew the credential, and else is
    /// disconnected.
    pub(super) fn revoke(&mut self, machine: &mut Machine, name: &CallerName) {
        let detached = if self.callers.is_empty() {
            self.deadline = Some(Instant::now() + REVOKED_TIMEOUT);
            1
        } else {
            usize::MAX
        };
        let reason = ErrorText::unauthorized(TOKEN_INVALID);
        self.receivers.stop(name);
        let of_caller = self.links.extract_if(.., |link| link.caller.as_ref() == Some(name));
        for link in of_caller.take(detached) {
            // If the link is detached already, the client does not expect a reason.
            let _ = machine.detach(link.id, Some(&reason.get()));
            self.receivers.remove(|ended| ended == link.id);
        }
        debug!(peer = %self.peer.address, "a credential of an AMQP connection is no longer valid");
    }

    /// Handles events until one starts an operation.
    pub(super) fn handle_events(&mut self, machine: &mut Machine) -> Result<(), End> {
        while self.is_idle() {
            let Some(event) = machine.poll_event() else { break };
            match event {
                Event::SaslInit(init) => self.choose_sasl(machine, init)?,
                Event::Attach { link, attach } => self.attach(machine, link, &attach.get()),
                Event::Delivery(delivery) => self.receive(machine, delivery),
                Event::Credit { link, drain, .. } => {
                    self.send_answers(machine);
                    if drain {
                        self.drain(machine, link);
                    }
                }
                Event::Detach { link, .. } => {
                    self.links.retain(|known| known.id != link);
                    self.receivers.remove(|ended| ended == link);
                }
                Event::End { session, .. } => {
                    let ended: Vec<LinkId> = self
                        .links
                        .extract_if(.., |link| link.session == session)
                        .map(|link| link.id)
                        .collect();
                    self.receivers.remove(|link| ended.contains(&link));
                    self.answers.retain(|answer| answer.session != session);
                }
                Event::Outcome { link, delivery, outcome, settled } => {
                    let settlement = feed::settlement(outcome.as_ref());
                    let confirm = Confirm { link, delivery, settlement };
                    self.settle_item(machine, confirm, settled);
                }
                Event::SaslRefused(_) | Event::Open(_) | Event::Begin(_) | Event::Close { .. } => {}
            }
        }
        if self.is_idle() {
            self.receivers.start(machine, &self.callers, &self.context, &self.peer);
        }
        Ok(())
    }

    /// Sends an item on a receiving link.
    pub(super) fn send_item(&mut self, machine: &mut Machine, link: LinkId, item: Result<Item, HubError>) {
        let Some(ReceiverInfo { feed, caller, settled }) = self.receivers.info(link) else { return };
        self.record(feed.receive_operation(), item.as_ref().err());
        let (Ok(item), Some(caller)) = (item, self.callers.get(&caller)) else { return };
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
                let caller = caller.clone();
                tokio::spawn(async move { feed.release(&caller, item.token).await });
            }
        }
    }

    /// Sends what there is for a link, then gives its credit back.
    fn drain(&mut self, machine: &mut Machine, link: LinkId) {
        let info = self.receivers.drain(link).filter(|_| self.is_idle() && machine.credit(link) > 0);
        let caller = info.as_ref().and_then(|info| self.callers.get(&info.caller));
        if let (Some(info), Some(caller)) = (&info, caller) {
            let (hub, peer) = (self.context.hub.clone(), self.peer.address);
            self.work = Some(work::drain(hub, caller.clone(), peer, info.feed, link));
        } else {
            // An error means that the link is detached.
            let _ = machine.drained(link);
        }
    }

    /// Settles an item as its receiver has decided.
    fn settle_item(&mut self, machine: &mut Machine, confirm: Confirm, settled: bool) {
        let Confirm { link, delivery, settlement } = confirm;
        let Some((ReceiverInfo { feed, caller, .. }, token)) = self.receivers.unlock(link, delivery) else {
            return;
        };
        let confirm = (!settled).then_some(confirm);
        let Some(caller) = self.callers.get(&caller) else {
            let error = ErrorText::unauthorized(TOKEN_INVALID);
            confirm_settlement(machine, confirm, Some(&error));
            return;
        };
        let (hub, peer) = (self.context.hub.clone(), self.peer.address);
        self.work = Some(work::settle_item(hub, caller.clone(), peer, (feed, token, settlement), confirm));
    }

    /// Answers an operation that is done.
    pub(super) fn respond(&mut self, machine: &mut Machine, output: WorkOutput) -> Result<(), End> {
        match output {
            WorkOutput::Sasl(Ok(caller)) => {
                if self.authenticate(machine, caller)?.is_err() {
                    machine.refuse_sasl(SaslCode::SysTemp);
                    return Err(End::Refused);
                }
                return Ok(machine.accept_sasl()?);
            }
            WorkOutput::Sasl(Err(_)) => {
                machine.refuse_sasl(SaslCode::Auth);
                return Err(End::Refused);
            }
            WorkOutput::Token { session, request, result } => {
                let result = match result {
                    Ok(caller) => self.authenticate(machine, caller)?,
                    Err(error) => Err(error),
                };
                let answer = match result {
                    Ok(()) => cbs::answer(&request, 200, "OK"),
                    Err(error) => cbs::answer(&request, error.code.http_status(), &error.message),
                };
                self.answers.push_back(Answer { session, message: answer });
                self.send_answers(machine);
            }
            WorkOutput::Message { unsettled, result } => {
                self.record(Operation::SendMessage, result.as_ref().err());
                settle(machine, unsettled, result);
            }
            WorkOutput::Drained { link, result } => match result.transpose() {
                Some(item) => {
                    let failed = item.is_err();
                    self.send_item(machine, link, item);
                    if failed {
                        let _ = machine.drained(link);
                    } else {
                        self.drain(machine, link);
                    }
                }
                None => drop(machine.drained(link)),
            },
            WorkOutput::Settled { operation, confirm, result } => {
                let error = result.err();
                self.record(operation, error.as_ref());
                confirm_settlement(machine, confirm, error.as_ref().map(ErrorText::of).as_ref());
            }
        }
        Ok(())
    }

    /// The client has proved who it is, for the first time or again. Returns an error if the hub does not admit it.
    fn authenticate(
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

    /// Detaches links whose caller has put a token without the right.
    fn end_links_without_right(&mut self, machine: &mut Machine) {
        let callers = &self.callers;
        let has_right = |link: &Link| {
            let caller = link.caller.as_ref().and_then(|name| callers.get(name));
            match (caller, link.purpose.operation()) {
                (Some(caller), Some(operation)) => caller.principal().may(operation),
                _ => true,
            }
        };
        let reason = ErrorText::unauthorized(TOKEN_INVALID);
        for link in self.links.extract_if(.., |link| !has_right(link)) {
            // If the link is detached already, the client does not expect a reason.
            let _ = machine.detach(link.id, Some(&reason.get()));
            self.receivers.remove(|ended| ended == link.id);
        }
    }

    /// Counts an operation, and logs why it failed: Python's client does not say.
    fn record(&self, operation: Operation, error: Option<&HubError>) {
        let status = error.map_or(200, |error| error.code.http_status());
        self.context.metrics.amqp_operations.count(Some(operation), status);
        if let Some(error) = error
            && let Some((reason, remedy)) = errors::explain(error.code)
        {
            log_limited!(
                info,
                "operation failed",
                reason,
                peer = %self.peer.address,
                protocol = self.peer.protocol,
                operation = operation.name(),
                error = excerpt(&error.message),
                remedy
            );
        }
    }

    /// PLAIN proves who the client is. The other mechanisms prove nothing: a token for `$cbs` follows.
    fn choose_sasl(
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

    fn attach(&mut self, machine: &mut Machine, link: LinkId, attach: &Attach<'_>) {
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
            let _ = machine
                .refuse_link(link, &ferrohub_amqp::performative::AmqpError::new(condition::INVALID_FIELD));
        }
        self.send_answers(machine);
    }

    /// Decides about a link by its address and the rights of the callers.
    fn check_attach(&self, attach: &Attach<'_>) -> Result<(Purpose, Option<CallerName>), ErrorText> {
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

    fn receive(&mut self, machine: &mut Machine, delivery: Delivery) {
        let Some(link) = self.links.iter().find(|link| link.id == delivery.link) else {
            // The link was detached meanwhile.
            return;
        };
        let (hub, peer) = (&self.context.hub, self.peer.address);
        let caller = link.caller.as_ref().and_then(|name| self.callers.get(name));
        match (link.purpose, caller) {
            (Purpose::Messages, Some(caller)) => {
                self.work = Some(work::send_message(hub.clone(), caller.clone(), peer, delivery));
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
            // The hub sends on this link.
            (Purpose::TokenAnswers | Purpose::Feed(_), _) => {}
        }
    }

    /// Sends the answers for which there is a link with credit, in the session of their request.
    fn send_answers(&mut self, machine: &mut Machine) {
        let Self { answers, links, answered, .. } = self;
        answers.retain(|answer| {
            let target = links.iter().find(|link| {
                link.purpose == Purpose::TokenAnswers
                    && link.session == answer.session
                    && machine.credit(link.id) > 0
            });
            let Some(link) = target else { return true };
            *answered += 1;
            let tag = answered.to_be_bytes();
            let message = Outbound { tag: &tag, settled: true, payload: &answer.message, message_format: 0 };
            // While output is pending, the answer waits; it is sent with the next event.
            matches!(machine.send(link.id, &message), Err(SendError::BufferFull))
        });
    }
}

/// Settles a delivery whose receiver waits for that, with the receiver's decision or with the error.
fn confirm_settlement(machine: &mut Machine, confirm: Option<Confirm>, error: Option<&ErrorText>) {
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

/// Tells the sender of a message what became of it.
fn settle(machine: &mut Machine, unsettled: Option<Unsettled>, result: Result<(), HubError>) {
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
