//! One device's connection, as the hub's rules see it: what it carries, not how.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ferrohub_model::{IdentityId, KeyFingerprint, Timestamp};
use tokio::sync::oneshot;

use super::desired::{DesiredNotice, DesiredOutbox};
use super::in_flight::{Answer, CallEnd, InFlight, MethodReply, OutgoingCall, OutgoingMethod, RequestId};
use crate::session::{Session, Subscription};

/// With what a connection authenticated; decides what ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token signed by one of the identity's own keys: this one.
    DeviceKey(KeyFingerprint),
    /// A token signed by a shared access policy's key.
    Policy {
        /// The policy's name.
        name: Arc<str>,
    },
    /// A certificate whose thumbprint the identity lists.
    Thumbprint,
    /// A certificate that chains to this registered authority.
    Authority {
        /// The authority's name.
        name: Arc<str>,
    },
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The device said goodbye.
    ClientDisconnect,
    /// The transport ended without a goodbye.
    Lost,
    /// Nothing was heard for one and a half times the keep-alive.
    KeepAlive,
    /// The device broke the protocol or a limit.
    ProtocolError,
    /// A newer connection of the same identity took over.
    TakenOver,
    /// The token or certificate ran out.
    Expired,
    /// The identity was deleted.
    Deleted,
    /// The identity was disabled.
    Disabled,
    /// The keys, certificates or authority it authenticated with changed.
    CredentialChanged,
    /// The device does not read what it is sent.
    SlowReader,
    /// Somebody injected a fault.
    FaultInjected,
    /// The hub could not read or write what the device's business needs; it is to come back.
    StoreFailed,
    /// The hub is stopping.
    Stopping,
}

impl CloseReason {
    /// A fixed word for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientDisconnect => "client_disconnect",
            Self::Lost => "lost",
            Self::KeepAlive => "keep_alive",
            Self::ProtocolError => "protocol_error",
            Self::TakenOver => "taken_over",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Disabled => "disabled",
            Self::CredentialChanged => "credential_changed",
            Self::SlowReader => "slow_reader",
            Self::FaultInjected => "fault_injected",
            Self::StoreFailed => "store_failed",
            Self::Stopping => "stopping",
        }
    }

    fn call_end(self) -> CallEnd {
        match self {
            Self::TakenOver => CallEnd::TakenOver,
            Self::FaultInjected => CallEnd::FaultInjected,
            Self::Stopping => CallEnd::Stopping,
            _ => CallEnd::Disconnected,
        }
    }
}

/// Something for the protocol head to do.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// Send a method request.
    Method(OutgoingMethod),
    /// Tell of a change of desired properties.
    Desired(DesiredNotice),
    /// Messages may wait for the device: look.
    Messages,
    /// Close the transport.
    Close(CloseReason),
}

/// One connection. Shared by its protocol head, the connection table and the calls on it.
#[derive(Debug)]
pub struct Connection {
    /// Who is connected.
    pub id: IdentityId,
    /// With what it authenticated.
    pub credential: Credential,
    /// When the token or certificate runs out, if it does.
    pub expires: Option<Timestamp>,
    /// Since when.
    pub connected: Timestamp,
    /// Of the identity when it connected.
    pub(crate) generation_id: String,
    /// Of the identity when it connected; a different one means: look again.
    pub(crate) etag: String,
    last_activity: AtomicI64,
    disconnect_counted: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: Session,
    calls: InFlight,
    /// Connections before this one that the device left with calls open; it may answer them here.
    /// Boxed, because there hardly ever are any.
    #[allow(clippy::box_collection, reason = "eight bytes in each idle connection instead of 24")]
    inherited: Option<Box<Vec<Arc<Connection>>>>,
    /// Boxed, because not every device cares.
    desired_outbox: Option<Box<DesiredOutbox>>,
    /// Messages may wait, and the head does not know yet.
    messages_pending: bool,
    close_reason: Option<CloseReason>,
    waker: Option<Waker>,
}

impl State {
    fn end_calls(&mut self, end: CallEnd) {
        self.calls.end_all(end);
        for earlier in self.inherited.take().into_iter().flat_map(|earlier| *earlier) {
            earlier.end_calls(end);
        }
    }
}

/// A call that was handed to a connection; dropping it cancels the call.
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

/// Why a call could not be handed to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The connection is closed; a newer one may be in the table.
    Closed,
    /// The device does not listen for methods (yet).
    NotSubscribed,
    /// The device has too many calls in flight.
    TooManyInFlight,
}

impl Connection {
    /// A connection that is not in the table yet.
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
            credential,
            expires,
            connected: now,
            generation_id: identity.generation_id.clone(),
            etag: identity.etag.clone(),
            last_activity: AtomicI64::new(now.unix_millis()),
            disconnect_counted: AtomicBool::new(false),
            state: Mutex::new(State { session, ..State::default() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change, so a poisoned lock is still a sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next thing to do for the protocol head, which is woken when there is one.
    /// Call it from one task only, again and again until it is pending. Nothing follows a close.
    pub fn poll_outgoing(&self, cx: &mut Context<'_>) -> Poll<Outgoing> {
        let mut state = self.lock();
        if let Some(reason) = state.close_reason {
            return Poll::Ready(Outgoing::Close(reason));
        }
        if let Some(method) = state.calls.next_unsent() {
            return Poll::Ready(Outgoing::Method(method));
        }
        if let Some(notice) = state.desired_outbox.as_mut().and_then(|outbox| outbox.pop()) {
            return Poll::Ready(Outgoing::Desired(notice));
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

    /// The device answered a call of this connection, or one it had when it said goodbye on an earlier one.
    pub fn answer(&self, id: RequestId, reply: MethodReply) -> Answer {
        let mut state = self.lock();
        let Some(inherited) = &mut state.inherited else { return state.calls.answer(id, reply) };
        // A request id is unique in the process, so only one of them can know it.
        let owner = inherited.iter().find(|earlier| earlier.lock().calls.has(id)).cloned();
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

    /// Whether calls are open on it or on those it inherited from.
    pub(super) fn has_calls(&self) -> bool {
        let state = self.lock();
        !state.calls.is_empty() || state.inherited.is_some()
    }

    /// Takes on the calls that `earlier` was left with.
    pub(super) fn inherit_calls(&self, earlier: &Arc<Self>) {
        let mut before = earlier.lock();
        let mut inherited = before.inherited.take().unwrap_or_default();
        let has_calls = !before.calls.is_empty();
        drop(before);
        inherited.retain(|one| one.has_calls());
        if has_calls {
            inherited.push(earlier.clone());
        }
        if !inherited.is_empty() {
            self.lock().inherited.get_or_insert_default().append(&mut inherited);
        }
    }

    /// Ends the calls that are still open on it.
    pub(super) fn end_calls(&self, end: CallEnd) {
        self.lock().end_calls(end);
    }

    /// What the device listens for now.
    #[must_use]
    pub fn session(&self) -> Session {
        self.lock().session
    }

    /// The hub heard from the device.
    pub fn touch(&self, now: Timestamp) {
        self.last_activity.store(now.unix_millis(), Ordering::Relaxed);
    }

    /// When the hub last heard from the device.
    #[must_use]
    pub fn last_activity(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.last_activity.load(Ordering::Relaxed))
    }

    /// Whether and why it is closed.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.lock().close_reason
    }

    /// True the first time, so that the end of a connection is counted once.
    pub(crate) fn mark_disconnected(&self) -> bool {
        !self.disconnect_counted.swap(true, Ordering::Relaxed)
    }

    /// The device listens for something else now. Calls it was not sent before it stopped listening for methods
    /// are not sent any more: once UNSUBSCRIBE is acknowledged nothing may come, and another connection may take them.
    pub(super) fn set_session(&self, session: Session) {
        let mut state = self.lock();
        // What came before it listened waits in its queue.
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

    /// The desired properties changed. The device is told if it listens and does not know yet; one that is too far
    /// behind is disconnected.
    pub fn notify_desired(&self, notice: DesiredNotice) {
        let mut state = self.lock();
        if state.close_reason.is_some() || !state.session.has(Subscription::DesiredProperties) {
            return;
        }
        if state.desired_outbox.get_or_insert_default().push(notice).is_err() {
            drop(state);
            return self.close(CloseReason::SlowReader);
        }
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Messages may wait for the device. It is sent them if it listens.
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

    /// The device was sent its desired properties as of this version: it is told of nothing older any more.
    pub fn mark_desired_read(&self, version: u64) {
        self.lock().desired_outbox.get_or_insert_default().mark_read(version);
    }

    pub(super) fn listens_for_methods(&self) -> bool {
        let state = self.lock();
        state.close_reason.is_none() && state.session.has(Subscription::Methods)
    }

    /// Closes it and wakes the protocol head. The first reason stays. Every call ends, except where the
    /// device said goodbye: it may be on its way to a new connection, to answer there what it was asked here.
    pub fn close(&self, reason: CloseReason) {
        let mut state = self.lock();
        if state.close_reason.is_some() {
            return;
        }
        state.close_reason = Some(reason);
        if reason == CloseReason::ClientDisconnect {
            state.calls.end_unsent();
        } else {
            state.end_calls(reason.call_end());
        }
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

    /// A hub holds one of these for each device. Whoever makes it larger should mean to.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    }
}
