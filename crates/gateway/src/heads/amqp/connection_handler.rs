//! Handles what a client does: calls the hub, and answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use ferrohub_amqp::performative::{Attach, DeliveryState, Rejected, SaslCode, SaslInit, condition};
use ferrohub_amqp::{
    Connection as Machine, Delivery, Event, LinkId, Outbound, Owned, ProtocolError, SendError, SessionId,
    Unsettled,
};
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::{Hub, Operation, ServiceCaller, log_limited};
use ferrohub_model::HubError;
use tokio::time::Instant;
use tracing::debug;

use super::address::{Purpose, address};
use super::cbs;
use super::errors::ErrorText;
use super::limits::{MAX_PENDING_ANSWERS, REVOKED_TIMEOUT, message_grant, token_grant};
use super::violation::End;
use super::work::{self, Work, WorkOutput};
use crate::transport::peer::Peer;
use crate::transport::tcp::ConnectionSlot;

/// The text that Azure sends when a credential is no longer valid.
const TOKEN_INVALID: &str = "Token Invalid.";

/// A link that the hub has accepted.
struct Link {
    id: LinkId,
    session: SessionId,
    purpose: Purpose,
}

/// An answer of `$cbs` that waits until the client gives credit: Python and C send a token before that.
struct Answer {
    session: SessionId,
    message: BytesMut,
}

/// The service that a client has proved to be.
struct Proven {
    caller: Arc<ServiceCaller>,
    /// Ready once the caller may no longer act.
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The hub's side of one connection.
pub(super) struct ConnectionHandler {
    hub: Arc<Hub>,
    pub(super) peer: Peer,
    pub(super) slot: ConnectionSlot,
    proven: Option<Proven>,
    /// Whether the client has ever proved who it is.
    authenticated: bool,
    /// When the connection ends because the client's credential is no longer valid.
    pub(super) deadline: Option<Instant>,
    links: Vec<Link>,
    answers: VecDeque<Answer>,
    /// Numbers the answers, for their delivery tags.
    answered: u128,
    work: Option<Work>,
}

impl ConnectionHandler {
    pub(super) fn new(hub: Arc<Hub>, peer: Peer, slot: ConnectionSlot) -> Self {
        Self {
            hub,
            peer,
            slot,
            proven: None,
            authenticated: false,
            deadline: None,
            links: Vec::new(),
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

    /// Ready when the credential is no longer valid.
    pub(super) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.proven.as_mut().map_or(Poll::Pending, |proven| proven.revoked.as_mut().poll(cx))
    }

    /// The credential has expired or was revoked. One link is detached with the reason: of the detached links of a client
    /// of one identity, Node survives only one. The client may renew the credential, and else is disconnected.
    pub(super) fn revoke(&mut self, machine: &mut Machine) {
        self.proven = None;
        self.deadline = Some(Instant::now() + REVOKED_TIMEOUT);
        let reason = ErrorText::unauthorized(TOKEN_INVALID);
        if let Some(at) = self.links.iter().position(|link| link.purpose == Purpose::Messages) {
            let link = self.links.swap_remove(at);
            // If the link is detached already, the client does not expect a reason.
            let _ = machine.detach(link.id, Some(&reason.get()));
        }
        debug!(peer = %self.peer.address, "credential of an AMQP connection is no longer valid");
    }

    /// Handles events until one starts an operation.
    pub(super) fn handle_events(&mut self, machine: &mut Machine) -> Result<(), End> {
        while self.is_idle() {
            let Some(event) = machine.poll_event() else { break };
            match event {
                Event::SaslInit(init) => self.choose_sasl(machine, init)?,
                Event::Attach { link, attach } => self.attach(machine, link, &attach.get()),
                Event::Delivery(delivery) => self.receive(machine, delivery),
                Event::Credit { .. } => self.send_answers(machine),
                Event::Detach { link, .. } => self.links.retain(|known| known.id != link),
                Event::End { session, .. } => {
                    self.links.retain(|known| known.session != session);
                    self.answers.retain(|answer| answer.session != session);
                }
                Event::SaslRefused(_)
                | Event::Open(_)
                | Event::Begin(_)
                | Event::Outcome { .. }
                | Event::Close { .. } => {}
            }
        }
        Ok(())
    }

    /// Answers an operation that is done.
    pub(super) fn respond(&mut self, machine: &mut Machine, output: WorkOutput) -> Result<(), End> {
        match output {
            WorkOutput::Sasl(Ok(caller)) => {
                self.authenticate(machine, caller)?;
                return Ok(machine.accept_sasl()?);
            }
            WorkOutput::Sasl(Err(_)) => {
                machine.refuse_sasl(SaslCode::Auth);
                return Err(End::Refused);
            }
            WorkOutput::Token { session, request, result } => {
                let answer = match result {
                    Ok(caller) => {
                        self.authenticate(machine, caller)?;
                        cbs::answer(&request, 200, "OK")
                    }
                    Err(error) => cbs::answer(&request, error.code.http_status(), &error.message),
                };
                self.answers.push_back(Answer { session, message: answer });
                self.send_answers(machine);
            }
            WorkOutput::Message { unsettled, result } => settle(machine, unsettled, result),
        }
        Ok(())
    }

    /// The client has proved who it is, for the first time or again.
    fn authenticate(&mut self, machine: &mut Machine, caller: ServiceCaller) -> Result<(), End> {
        if !self.slot.mark_authenticated() {
            return Err(End::Evicted);
        }
        machine.set_authenticated();
        let caller = Arc::new(caller);
        let watched = caller.clone();
        let revoked = Box::pin(async move { watched.revoked().await });
        self.proven = Some(Proven { caller, revoked });
        self.authenticated = true;
        self.deadline = None;
        Ok(())
    }

    /// PLAIN proves who the client is. The other mechanisms prove nothing: a token for `$cbs` follows.
    fn choose_sasl(
        &mut self,
        machine: &mut Machine,
        init: Owned<SaslInit<'static>>,
    ) -> Result<(), ProtocolError> {
        if init.get().mechanism.0 == "PLAIN" {
            self.work = Some(work::verify_plain(self.hub.clone(), self.peer.address, init));
            return Ok(());
        }
        machine.accept_sasl()
    }

    fn attach(&mut self, machine: &mut Machine, link: LinkId, attach: &Attach<'_>) {
        let accepted = match self.check_attach(attach) {
            Ok(purpose) => {
                let grant = if purpose == Purpose::Messages { message_grant() } else { token_grant() };
                machine.accept_link(link, &grant).map(|()| {
                    // The link was accepted, so it has a session.
                    if let Some(session) = machine.session_of(link) {
                        self.links.push(Link { id: link, session, purpose });
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

    /// Decides about a link by its address and the right of the caller.
    fn check_attach(&self, attach: &Attach<'_>) -> Result<Purpose, ErrorText> {
        let purpose = Purpose::of(attach);
        let refuse = |reason: &'static str, remedy: &'static str| {
            let address = excerpt(address(attach));
            log_limited!(info, "link refused", reason, peer = %self.peer.address, address, remedy);
        };
        match (purpose, &self.proven) {
            (Some(purpose @ (Purpose::Tokens | Purpose::TokenAnswers)), _) => Ok(purpose),
            (_, None) => {
                refuse(
                    "link_before_token",
                    "send a SAS token to $cbs first, or use SASL PLAIN; devices cannot use AMQP, only services",
                );
                Err(ErrorText::unauthorized("Unauthorized"))
            }
            (Some(Purpose::Messages), Some(proven)) => {
                let checked = proven.caller.check(Operation::SendMessage);
                checked.map(|()| Purpose::Messages).map_err(|error| ErrorText::of(&error))
            }
            (None, Some(_)) => {
                refuse(
                    "unknown_address",
                    "the hub has $cbs and /messages/devicebound; read feedback and events over HTTPS",
                );
                Err(ErrorText::unknown_address(excerpt(address(attach))))
            }
        }
    }

    fn receive(&mut self, machine: &mut Machine, delivery: Delivery) {
        let Some(link) = self.links.iter().find(|link| link.id == delivery.link) else {
            // The link was detached meanwhile.
            return;
        };
        let peer = self.peer.address;
        match (link.purpose, &self.proven) {
            (Purpose::Messages, Some(proven)) => {
                self.work = Some(work::send_message(proven.caller.clone(), peer, delivery));
            }
            (Purpose::Messages, None) => {
                reject(machine, delivery.unsettled, &ErrorText::unauthorized(TOKEN_INVALID))
            }
            (Purpose::Tokens, _) if self.answers.len() < MAX_PENDING_ANSWERS => {
                // Python repeats a token that is answered but not settled.
                if let Some(unsettled) = delivery.unsettled {
                    let _ = machine.settle(unsettled, &DeliveryState::Accepted);
                }
                self.work = Some(work::verify_token(self.hub.clone(), peer, link.session, delivery.payload));
            }
            (Purpose::Tokens, _) => reject(
                machine,
                delivery.unsettled,
                &ErrorText::too_many(
                    "Too many answers wait: give credit on the link that receives from $cbs.",
                ),
            ),
            // The hub sends on this link.
            (Purpose::TokenAnswers, _) => {}
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
