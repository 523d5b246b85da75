//! The state of one HTTPS connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::upgrade::OnUpgrade;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::caller_connections::{CallerConnections, CallerPermit};
use crate::listener::ConnectionSlot;

/// Maximum number of bodies that are discarded at a time on a connection that is not authenticated.
const MAX_UNAUTHENTICATED_DISCARDS: usize = 8;

/// Permits discarding the body of a refused request. An authenticated connection needs no permit of the semaphore.
pub(super) struct DiscardPermit(
    #[expect(dead_code, reason = "held until it is dropped")] Option<OwnedSemaphorePermit>,
);

/// The state of one connection, shared by the requests on it.
#[derive(Clone)]
pub(super) struct HttpConnection(Arc<HttpConnectionInner>);

struct HttpConnectionInner {
    /// Whether a request has arrived.
    request_received: AtomicBool,
    /// Whether a request on it was successful: then the connection stays authenticated.
    authenticated: AtomicBool,
    /// For bodies that are discarded.
    discards: Arc<Semaphore>,
    state: Mutex<HttpConnectionState>,
}

struct HttpConnectionState {
    slot: Option<ConnectionSlot>,
    /// Set once a request has asked for an upgrade to WebSocket.
    upgrade: Option<OnUpgrade>,
    /// Counts the connection as one of its caller.
    permit: Option<CallerPermit>,
}

impl HttpConnection {
    pub(super) fn new(slot: ConnectionSlot) -> Self {
        let state = Mutex::new(HttpConnectionState { slot: Some(slot), upgrade: None, permit: None });
        Self(Arc::new(HttpConnectionInner {
            request_received: AtomicBool::new(false),
            authenticated: AtomicBool::new(false),
            discards: Arc::new(Semaphore::new(MAX_UNAUTHENTICATED_DISCARDS)),
            state,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HttpConnectionState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.0.authenticated.load(Ordering::Relaxed)
    }

    /// Returns a permit to discard the body of a refused request in the background. `None` if the connection is not
    /// authenticated and discards several bodies already.
    pub(super) fn discard_permit(&self) -> Option<DiscardPermit> {
        if self.is_authenticated() {
            return Some(DiscardPermit(None));
        }
        self.0.discards.clone().try_acquire_owned().ok().map(|permit| DiscardPermit(Some(permit)))
    }

    /// Called when a request begins: the connection cannot be evicted during a request. Returns whether the connection
    /// was unauthenticated and has now released its slot.
    pub(super) fn begin_request(&self) -> bool {
        self.0.request_received.store(true, Ordering::Relaxed);
        !self.is_authenticated() && self.lock().slot.as_ref().is_some_and(ConnectionSlot::mark_authenticated)
    }

    /// Called when a request has ended. `was_unauthenticated` is the result of [`HttpConnection::begin_request`]. `caller`
    /// is the caller that the request claims to be, which is true if it was `allowed`.
    pub(super) fn end_request(
        &self,
        was_unauthenticated: bool,
        allowed: bool,
        caller: Option<(&Arc<CallerConnections>, String)>,
    ) {
        if self.is_authenticated() {
            return;
        }
        let mut state = self.lock();
        if allowed && state.count(caller) {
            self.0.authenticated.store(true, Ordering::Relaxed);
        } else if was_unauthenticated && let Some(slot) = &mut state.slot {
            // This includes a device that upgrades to WebSocket: it authenticates later, with CONNECT.
            slot.readmit();
        }
    }

    /// Counts the end of the connection before its authentication.
    pub(super) fn count_rejection(&self, reason: &'static str) {
        if let Some(slot) = &self.lock().slot {
            slot.count_rejection(reason);
        }
    }

    /// Upgrades the connection once the response to this request is written.
    pub(super) fn set_upgrade(&self, upgrade: OnUpgrade) {
        self.lock().upgrade = Some(upgrade);
    }

    /// Returns whether a request has arrived.
    pub(super) fn has_received_request(&self) -> bool {
        self.0.request_received.load(Ordering::Relaxed)
    }

    /// Returns the upgrade to WebSocket, if a request asked for one, and the slot of the connection.
    pub(super) fn take_upgrade(&self) -> Option<(OnUpgrade, ConnectionSlot)> {
        let mut state = self.lock();
        Some((state.upgrade.take()?, state.slot.take()?))
    }
}

impl HttpConnectionState {
    /// Counts the connection for its caller, once. Returns false if the caller has too many.
    fn count(&mut self, caller: Option<(&Arc<CallerConnections>, String)>) -> bool {
        if let (None, Some((connections, caller))) = (&self.permit, caller) {
            self.permit = connections.acquire(caller);
            return self.permit.is_some();
        }
        true
    }
}
