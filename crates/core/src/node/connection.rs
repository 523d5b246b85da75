//! The connection of a device or module, independent of the protocol.

mod desired;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ferrohub_model::{IdentityId, Timestamp};
use tokio::sync::oneshot;

use super::desired::{DesiredNotice, DesiredOutbox};
use super::in_flight::{Answer, CallEnd, InFlight, MethodReply, OutgoingCall, OutgoingMethod, RequestId};
use crate::auth::{Credential, VerifiedCredential};
use crate::close_reason::CloseReason;
use crate::session::{Session, Subscription};

impl From<CloseReason> for CallEnd {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::TakenOver => Self::TakenOver,
            CloseReason::FaultInjected => Self::FaultInjected,
            CloseReason::Stopping => Self::Stopping,
            _ => Self::Disconnected,
        }
    }
}

/// An instruction to the protocol handler.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// Send a method request.
    Method(OutgoingMethod),
    /// Send a change of desired properties.
    Desired(DesiredNotice),
    /// Fetch messages: some may be queued for the device.
    Messages,
    /// Close the transport.
    Close(CloseReason),
}

/// One connection. Shared by its protocol handler, the connection table and the calls on it.
#[derive(Debug)]
pub struct Connection {
    /// The connected device or module.
    pub id: IdentityId,
    /// When it connected.
    pub connected_at: Timestamp,
    /// The identity's generation id when it connected.
    pub(crate) generation_id: String,
    last_activity: AtomicI64,
    disconnect_counted: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    credential: Credential,
    expires: Option<Timestamp>,
    session: Session,
    calls: InFlight,
    /// Earlier connections that the device closed with calls in flight. The device may answer those calls here.
    /// Boxed, because this is rare.
    #[allow(clippy::box_collection, reason = "eight bytes in each idle connection instead of 24")]
    inherited: Option<Box<Vec<Arc<Connection>>>>,
    /// Boxed, because not every device subscribes to desired properties.
    desired_outbox: Option<Box<DesiredOutbox>>,
    /// Messages may be queued, and the protocol handler has not been notified yet.
    messages_pending: bool,
    close_reason: Option<CloseReason>,
    waker: Option<Waker>,
}

impl State {
    fn close(&mut self, reason: CloseReason) {
        self.close_reason = Some(reason);
        if reason == CloseReason::ClientDisconnect {
            self.calls.end_unsent();
        } else {
            self.end_calls(CallEnd::from(reason));
        }
    }

    fn end_calls(&mut self, end: CallEnd) {
        self.calls.end_all(end);
        for earlier in self.inherited.take().into_iter().flat_map(|earlier| *earlier) {
            earlier.end_calls(end);
        }
    }
}

/// A call that a connection has accepted. Dropping it cancels the call.
pub(super) struct PendingCall {
    connection: Arc<Connection>,
    id: RequestId,
    pub(super) reply: oneshot::Receiver<Result<MethodReply, CallEnd>>,
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.connection.lock().calls.cancel(self.id);
    }
}

/// Why a connection did not accept a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The connection is closed. A newer one may be in the table.
    Closed,
    /// The device is not subscribed to methods (yet).
    NotSubscribed,
    /// The device has too many calls in flight.
    TooManyInFlight,
}

impl Connection {
    /// Creates a connection that is not in the table yet.
    #[must_use]
    pub fn new(
        identity: &crate::registry::Identity,
        credential: Credential,
        expires: Option<Timestamp>,
        session: Session,
        now: Timestamp,
    ) -> Self {
        Self {
            id: identity.id.clone(),
            connected_at: now,
            generation_id: identity.generation_id.clone(),
            last_activity: AtomicI64::new(now.unix_millis()),
            disconnect_counted: AtomicBool::new(false),
            state: Mutex::new(State {
                credential,
                expires,
                session,
                calls: InFlight::default(),
                inherited: None,
                desired_outbox: None,
                messages_pending: false,
                close_reason: None,
                waker: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the state half changed, so a poisoned mutex is still usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the credential with which it authenticated last.
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.lock().credential.clone()
    }

    /// Returns whether it authenticated last with a credential for which `matches` returns true.
    pub(crate) fn authenticated_with(&self, matches: impl Fn(&Credential) -> bool) -> bool {
        matches(&self.lock().credential)
    }

    /// Returns when the token or certificate expires. `None` if it never does.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.lock().expires
    }

    /// Replaces the credential after it was verified.
    pub(crate) fn set_credential(&self, verified: VerifiedCredential) {
        let mut state = self.lock();
        state.credential = verified.credential;
        state.expires = Some(verified.expires);
    }

    /// Returns the next instruction to the protocol handler, or wakes it when there is one.
    /// Call it from one task only, and repeat until it is pending. A close is the last instruction.
    pub fn poll_outgoing(&self, cx: &mut Context<'_>) -> Poll<Outgoing> {
        let mut state = self.lock();
        if let Some(reason) = state.close_reason {
            return Poll::Ready(Outgoing::Close(reason));
        }
        if let Some(method) = state.calls.next_unsent() {
            return Poll::Ready(Outgoing::Method(method));
        }
        if let Some(outbox) = &mut state.desired_outbox {
            if let Some(notice) = outbox.pop() {
                return Poll::Ready(Outgoing::Desired(notice));
            }
            if outbox.has_sent_all() {
                state.close(CloseReason::MissedTwinChange);
                return Poll::Ready(Outgoing::Close(CloseReason::MissedTwinChange));
            }
        }
        if std::mem::take(&mut state.messages_pending) {
            return Poll::Ready(Outgoing::Messages);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Delivers the device's answer to a call of this connection, or to one in flight on an earlier connection that the
    /// device closed cleanly. An answer that is not valid ends the call with an error.
    pub fn answer(&self, id: RequestId, reply: Result<MethodReply, CallEnd>) -> Answer {
        let mut state = self.lock();
        let Some(inherited) = &mut state.inherited else { return state.calls.answer(id, reply) };
        // A request id is unique in the process, so at most one connection has the call.
        let owner = inherited.iter().find(|earlier| earlier.lock().calls.contains(id)).cloned();
        match owner {
            Some(owner) => {
                let answer = owner.lock().calls.answer(id, reply);
                inherited.retain(|earlier| earlier.has_calls());
                if inherited.is_empty() {
                    state.inherited = None;
                }
                answer
            }
            None => state.calls.answer(id, reply),
        }
    }

    /// Returns whether calls are in flight on this connection or on those it inherited from.
    pub(super) fn has_calls(&self) -> bool {
        let state = self.lock();
        !state.calls.is_empty() || state.inherited.is_some()
    }

    /// Inherits the calls in flight on `earlier`, including those that it had inherited.
    pub(super) fn inherit_calls(&self, earlier: &Arc<Self>) {
        let mut before = earlier.lock();
        let mut inherited = before.inherited.take().unwrap_or_default();
        let has_calls = !before.calls.is_empty();
        drop(before);
        inherited.retain(|connection| connection.has_calls());
        if has_calls {
            inherited.push(earlier.clone());
        }
        if !inherited.is_empty() {
            self.lock().inherited.get_or_insert_default().append(&mut inherited);
        }
    }

    /// Ends the calls in flight, including inherited ones.
    pub(super) fn end_calls(&self, end: CallEnd) {
        self.lock().end_calls(end);
    }

    /// Returns the current subscriptions.
    #[must_use]
    pub fn session(&self) -> Session {
        self.lock().session
    }

    /// Records that the hub received something from the device.
    pub fn touch(&self, now: Timestamp) {
        self.last_activity.store(now.unix_millis(), Ordering::Relaxed);
    }

    /// Returns when the hub last received something from the device.
    #[must_use]
    pub fn last_activity(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.last_activity.load(Ordering::Relaxed))
    }

    /// Returns why the connection was closed, or `None` if it is open.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.lock().close_reason
    }

    /// Returns true on the first call only, so that the end of a connection is counted once.
    pub(crate) fn mark_disconnected(&self) -> bool {
        !self.disconnect_counted.swap(true, Ordering::Relaxed)
    }

    /// Changes the subscriptions. When the device unsubscribes from methods, unsent calls are not sent any more:
    /// after the UNSUBACK no request may follow. Another connection may still carry those calls.
    pub(super) fn set_session(&self, session: Session) {
        let mut state = self.lock();
        // After a new subscription, fetch the messages that were queued before it.
        state.messages_pending |= (session.has(Subscription::Messages)
            && !state.session.has(Subscription::Messages))
            || (session.has(Subscription::Inputs) && !state.session.has(Subscription::Inputs));
        state.session = session;
        if !session.has(Subscription::Methods) {
            state.calls.end_unsent();
        }
        if !session.has(Subscription::DesiredProperties)
            && let Some(outbox) = &mut state.desired_outbox
        {
            outbox.clear();
        }
    }

    /// Notifies the protocol handler that messages may be queued, if the device is subscribed to messages.
    pub fn notify_messages(&self) {
        let mut state = self.lock();
        if state.close_reason.is_some() || !state.session.listens_for_messages() {
            return;
        }
        state.messages_pending = true;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Returns whether the device is connected and subscribed to methods.
    pub(crate) fn listens_for_methods(&self) -> bool {
        let state = self.lock();
        state.close_reason.is_none() && state.session.has(Subscription::Methods)
    }

    /// Closes the connection and wakes the protocol handler. The first reason is kept. Every call ends, except after a
    /// clean disconnect: the device may be about to reconnect, and may answer the received calls on its new connection.
    pub fn close(&self, reason: CloseReason) {
        let mut state = self.lock();
        if state.close_reason.is_some() {
            return;
        }
        state.close(reason);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    pub(super) fn accept(
        self: &Arc<Self>,
        call: &OutgoingCall,
        limit: u16,
    ) -> Result<PendingCall, AcceptError> {
        let (sender, reply) = oneshot::channel();
        let mut state = self.lock();
        if state.close_reason.is_some() {
            return Err(AcceptError::Closed);
        }
        if !state.session.has(Subscription::Methods) {
            return Err(AcceptError::NotSubscribed);
        }
        let id = state
            .calls
            .insert(limit, call.name.clone(), call.payload.clone(), sender)
            .map_err(|_| AcceptError::TooManyInFlight)?;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
        Ok(PendingCall { connection: self.clone(), id, reply })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hub has one of these per connected device, so its size matters.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    }
}
