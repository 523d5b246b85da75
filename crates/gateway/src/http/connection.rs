//! The state of one HTTPS connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Subprotocol;
use crate::admission::{CallerConnections, CallerName, CallerPermit, TooManyConnections};
use crate::transport::tcp::ConnectionSlot;

/// Maximum number of bodies that are discarded at a time on a connection that is not authenticated.
const MAX_UNAUTHENTICATED_DISCARDS: usize = 8;

/// Permits discarding the body of a refused request. An authenticated connection needs no permit of the semaphore.
pub(crate) struct DiscardPermit(
    #[expect(dead_code, reason = "held until it is dropped")] Option<OwnedSemaphorePermit>,
);

/// Why a request whose caller is proven is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// The caller has the maximum number of connections.
    TooManyConnections(TooManyConnections),
    /// The connection was evicted for a new one; its task ends.
    Evicted,
}

impl TooManyConnections {
    /// Completes the error response: the connection closes.
    pub(crate) fn close_connection(self, response: &mut Response) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The state of one connection, shared by the requests on it.
#[derive(Clone)]
pub(crate) struct HttpConnection(Arc<HttpConnectionInner>);

struct HttpConnectionInner {
    /// Whether a request has arrived.
    request_received: AtomicBool,
    /// Whether a request on it proved its caller: then the connection stays authenticated.
    authenticated: AtomicBool,
    /// For bodies that are discarded.
    discards: Arc<Semaphore>,
    state: Mutex<HttpConnectionState>,
}

struct HttpConnectionState {
    slot: Option<ConnectionSlot>,
    /// Set once a request has asked for an upgrade to WebSocket.
    upgrade: Option<(OnUpgrade, Subprotocol)>,
    /// Counts the connection as one of its caller.
    permit: Option<CallerPermit>,
}

impl HttpConnection {
    pub(crate) fn new(slot: ConnectionSlot) -> Self {
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

    pub(crate) fn is_authenticated(&self) -> bool {
        self.0.authenticated.load(Ordering::Relaxed)
    }

    /// Returns a permit to discard the body of a refused request in the background. `None` if the connection is not
    /// authenticated and discards several bodies already.
    pub(crate) fn discard_permit(&self) -> Option<DiscardPermit> {
        if self.is_authenticated() {
            return Some(DiscardPermit(None));
        }
        self.0.discards.clone().try_acquire_owned().ok().map(|permit| DiscardPermit(Some(permit)))
    }

    /// Called when a request begins.
    pub(crate) fn begin_request(&self) {
        self.0.request_received.store(true, Ordering::Relaxed);
    }

    /// Called when a request has proved its caller, before it is served. The first time, the connection gives up its slot
    /// for unauthenticated connections and counts as one of the caller. Until then it may be evicted, also in the middle
    /// of a request.
    ///
    /// # Errors
    ///
    /// If the caller has the maximum number of connections, or the connection has been evicted.
    pub(crate) fn authenticate(
        &self,
        connections: &Arc<CallerConnections>,
        caller: impl Into<CallerName>,
    ) -> Result<(), NotAdmitted> {
        if self.is_authenticated() {
            return Ok(());
        }
        let mut state = self.lock();
        // Another request on an HTTP/2 connection may have been faster.
        if state.permit.is_some() {
            return Ok(());
        }
        let permit = connections.acquire(caller.into()).map_err(NotAdmitted::TooManyConnections)?;
        if !state.slot.as_ref().is_some_and(ConnectionSlot::mark_authenticated) {
            return Err(NotAdmitted::Evicted);
        }
        state.permit = Some(permit);
        self.0.authenticated.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Counts the end of the connection before its authentication.
    pub(crate) fn count_rejection(&self, reason: &'static str) {
        if let Some(slot) = &self.lock().slot {
            slot.count_rejection(reason);
        }
    }

    /// Upgrades the connection once the response to this request is written.
    pub(crate) fn set_upgrade(&self, upgrade: OnUpgrade, subprotocol: Subprotocol) {
        self.lock().upgrade = Some((upgrade, subprotocol));
    }

    /// Returns whether a request has arrived.
    pub(crate) fn has_received_request(&self) -> bool {
        self.0.request_received.load(Ordering::Relaxed)
    }

    /// Returns the upgrade to WebSocket, if a request asked for one, and the slot of the connection.
    pub(crate) fn take_upgrade(&self) -> Option<(OnUpgrade, Subprotocol, ConnectionSlot)> {
        let mut state = self.lock();
        let (upgrade, subprotocol) = state.upgrade.take()?;
        Some((upgrade, subprotocol, state.slot.take()?))
    }
}
