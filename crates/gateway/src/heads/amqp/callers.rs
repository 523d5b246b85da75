//! The services that a client has proved to be. A client may put tokens of several services; each link belongs to one of
//! them, and ends with its token.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ferrohub_core::{Operation, ServiceCaller};
use ferrohub_model::{ErrorCode, HubError};

use super::limits::MAX_CALLERS;
use crate::admission::{CallerConnections, CallerName, CallerPermit};

/// The callers of one connection, the one of the latest token last.
#[derive(Default)]
pub(super) struct Callers(Vec<Proven>);

struct Proven {
    name: CallerName,
    caller: Arc<ServiceCaller>,
    /// Ready once the caller may no longer act.
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Counts the connection as one of the caller.
    permit: CallerPermit,
}

impl Callers {
    /// Returns whether no token of the client is valid.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a caller, unless it may no longer act.
    pub(super) fn get(&self, name: &CallerName) -> Option<&Arc<ServiceCaller>> {
        self.0.iter().find(|proven| proven.name == *name).map(|proven| &proven.caller)
    }

    /// Returns the caller for a new link: the latest one with the right to the operation.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess` if none has it, which is logged.
    pub(super) fn for_link(&self, operation: Operation) -> Result<CallerName, HubError> {
        let has_right = |proven: &&Proven| proven.caller.principal().may(operation);
        if let Some(proven) = self.0.iter().rev().find(has_right) {
            return Ok(proven.name.clone());
        }
        if let Some(latest) = self.0.last() {
            latest.caller.check(operation)?;
        }
        Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized"))
    }

    /// Adds a caller, or replaces its earlier token.
    ///
    /// # Errors
    ///
    /// `ThrottlingException` if the caller has the maximum number of connections, or the connection of callers.
    pub(super) fn add(
        &mut self,
        caller: ServiceCaller,
        connections: &Arc<CallerConnections>,
    ) -> Result<(), HubError> {
        let name = CallerName::from(&caller);
        let known = self.0.iter().position(|proven| proven.name == name);
        let permit = match known {
            Some(at) => self.0.remove(at).permit,
            None if self.0.len() >= MAX_CALLERS => {
                let text = format!("A connection has at most {MAX_CALLERS} callers.");
                return Err(HubError::new(ErrorCode::ThrottlingException, text));
            }
            None => connections.acquire(name.clone())?,
        };
        let caller = Arc::new(caller);
        let watched = caller.clone();
        let revoked = Box::pin(async move { watched.revoked().await });
        self.0.push(Proven { name, caller, revoked, permit });
        Ok(())
    }

    /// Ready when a caller may no longer act; it is removed.
    pub(super) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<CallerName> {
        let revoked = self.0.iter_mut().position(|proven| proven.revoked.as_mut().poll(cx).is_ready());
        revoked.map_or(Poll::Pending, |at| Poll::Ready(self.0.remove(at).name))
    }
}
