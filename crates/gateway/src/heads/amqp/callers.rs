//! The services that a client has proved to be. A client may put tokens of several services, and several tokens of one
//! that cover different parts of its events; each link belongs to one of them, and ends with its token. The links of the
//! last one that ends may outlive it for some seconds: they go over to its next token.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ferrohub_core::ServiceCaller;
use ferrohub_model::{ErrorCode, HubError};

use super::address::Purpose;
use super::limits::{MAX_CALLERS, MAX_TOKENS};
use crate::admission::{CallerConnections, CallerName, CallerPermit};

/// Names a token of a connection, and those that replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallerId(u32);

/// The callers of one connection.
#[derive(Default)]
pub(super) struct Callers {
    /// The one of the latest token last.
    proven: Vec<Proven>,
    /// Count the connection as one of each policy or principal.
    permits: Vec<(CallerName, CallerPermit)>,
    /// The last caller that could act, if no other has come since: its next token has its id, and thus its links.
    /// Boxed, because most connections never have one.
    last: Option<Box<Revoked>>,
    next_id: u32,
}

struct Proven {
    id: CallerId,
    name: CallerName,
    caller: Arc<ServiceCaller>,
    /// Ready once the caller may no longer act.
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Callers {
    /// Returns whether no token of the client is valid.
    pub(super) fn is_empty(&self) -> bool {
        self.proven.is_empty()
    }

    /// Returns a caller, unless it may no longer act.
    pub(super) fn get(&self, id: CallerId) -> Option<&Arc<ServiceCaller>> {
        self.proven.iter().find(|proven| proven.id == id).map(|proven| &proven.caller)
    }

    /// Returns the caller for a new link: the latest one that may use it.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess` if none may, which is logged.
    pub(super) fn for_link(&self, purpose: &Purpose) -> Result<CallerId, HubError> {
        if let Some(proven) = self.proven.iter().rev().find(|proven| purpose.is_open_to(&proven.caller)) {
            return Ok(proven.id);
        }
        if let (Some(latest), Some(operation)) = (self.proven.last(), purpose.operation()) {
            latest.caller.check(operation)?;
            if let Purpose::Events(events) = purpose {
                latest.caller.check_events(&events.consumer_group, Some(events.partition))?;
            }
        }
        Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized"))
    }

    /// Adds a caller, or replaces its earlier token for the same part of the hub.
    ///
    /// # Errors
    ///
    /// `ThrottlingException` if the caller has the maximum number of connections, or the connection of callers or tokens.
    pub(super) fn add(
        &mut self,
        caller: ServiceCaller,
        connections: &Arc<CallerConnections>,
    ) -> Result<(), HubError> {
        let name = CallerName::from(&caller);
        let is_same = |proven: &Proven| proven.name == name && proven.caller.scope() == caller.scope();
        let known = self.proven.iter().position(is_same);
        if known.is_none() && self.proven.len() >= MAX_TOKENS {
            let text = format!("A connection has at most {MAX_TOKENS} tokens for different resources.");
            return Err(HubError::new(ErrorCode::ThrottlingException, text));
        }
        if !self.permits.iter().any(|(permitted, _)| *permitted == name) {
            if self.permits.len() >= MAX_CALLERS {
                let text = format!("A connection has at most {MAX_CALLERS} callers.");
                return Err(HubError::new(ErrorCode::ThrottlingException, text));
            }
            let permit = connections.acquire(name.clone())?;
            // Most connections have one caller.
            self.permits.reserve_exact(1);
            self.permits.push((name.clone(), permit));
        }
        let last = self.last.take().filter(|last| last.name == name);
        let id = match (known, last) {
            (Some(at), _) => self.proven.remove(at).id,
            (None, Some(last)) => last.id,
            (None, None) => {
                self.next_id = self.next_id.wrapping_add(1);
                CallerId(self.next_id)
            }
        };
        let caller = Arc::new(caller);
        let watched = caller.clone();
        let revoked = Box::pin(async move { watched.revoked().await });
        self.proven.reserve_exact(1);
        self.proven.push(Proven { id, name, caller, revoked });
        Ok(())
    }

    /// Ready when a caller may no longer act; it is removed.
    pub(super) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<Revoked> {
        let revoked = self.proven.iter_mut().position(|proven| proven.revoked.as_mut().poll(cx).is_ready());
        let Some(at) = revoked else { return Poll::Pending };
        let Proven { id, name, .. } = self.proven.remove(at);
        if !self.proven.iter().any(|proven| proven.name == name) {
            self.permits.retain(|(permitted, _)| *permitted != name);
        }
        let revoked = Revoked { id, name };
        self.last = self.proven.is_empty().then(|| Box::new(revoked.clone()));
        Poll::Ready(revoked)
    }

    /// Returns another token of a revoked caller that may use a link.
    pub(super) fn instead_of(&self, revoked: &Revoked, purpose: &Purpose) -> Option<CallerId> {
        let usable = |proven: &&Proven| proven.name == revoked.name && purpose.is_open_to(&proven.caller);
        self.proven.iter().rev().find(usable).map(|proven| proven.id)
    }
}

/// A caller that may no longer act.
#[derive(Debug, Clone)]
pub(super) struct Revoked {
    pub(super) id: CallerId,
    name: CallerName,
}
