//! Handles what a client does: calls the hub, and answers.

mod attach;
mod credentials;
mod deliveries;
mod events;
mod items;

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use ferrohub_amqp::performative::SaslCode;
use ferrohub_amqp::{Connection as Machine, Event, LinkId, SessionId};
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::{Operation, log_limited};
use ferrohub_model::HubError;
use tokio::time::Instant;

pub(super) use attach::Accepted;

use super::address::Purpose;
use super::callers::{CallerId, Callers};
use super::errors::{self, ErrorText};
use super::readers::Readers;
use super::receivers::Receivers;
use super::server::AmqpContext;
use super::violation::End;
use super::work::{Confirm, Work, WorkOutput};
use super::{cbs, feed};
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
    caller: Option<CallerId>,
    /// The target of a link that receives answers, which requests name.
    reply_address: Option<String>,
}

/// An answer that waits until the client gives credit: Python and C send a token before that.
struct Answer {
    session: SessionId,
    /// What the link is for that receives it.
    purpose: Purpose,
    /// The target that the request names.
    reply_to: Option<String>,
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
    readers: Readers,
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
            readers: Readers::default(),
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

    /// Handles events until one starts an operation.
    pub(super) fn handle_events(&mut self, machine: &mut Machine) -> Result<(), End> {
        while self.is_idle() {
            let Some(event) = machine.poll_event() else { break };
            match event {
                Event::SaslInit(init) => self.choose_sasl(machine, init)?,
                Event::Attach { link, attach } => self.attach(machine, link, attach),
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
                    self.readers.remove(|ended| ended == link);
                }
                Event::End { session, .. } => {
                    let ended: Vec<LinkId> = self
                        .links
                        .extract_if(.., |link| link.session == session)
                        .map(|link| link.id)
                        .collect();
                    self.receivers.remove(|link| ended.contains(&link));
                    self.readers.remove(|link| ended.contains(&link));
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
                let purpose = Purpose::TokenAnswers;
                self.answers.push_back(Answer { session, purpose, reply_to: None, message: answer });
                self.send_answers(machine);
            }
            WorkOutput::Managed { session, reply_to, message, result } => {
                self.record(Operation::GetEventLog, result.as_ref().err());
                let purpose = Purpose::ManagementAnswers;
                self.answers.push_back(Answer { session, purpose, reply_to, message });
                self.send_answers(machine);
            }
            WorkOutput::ReaderOpened { link, accepted, result } => {
                self.reader_opened(machine, link, accepted, result);
            }
            WorkOutput::EventsRead { link, reader, result } => {
                self.events_read(machine, link, reader, result);
            }
            WorkOutput::Messages(results) => {
                for (unsettled, result) in results {
                    self.record(Operation::SendMessage, result.as_ref().err());
                    deliveries::settle(machine, unsettled, result);
                }
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
                items::confirm_settlement(machine, confirm, error.as_ref().map(ErrorText::of).as_ref());
            }
        }
        Ok(())
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
}
