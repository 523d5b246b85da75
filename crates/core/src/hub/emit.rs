//! The hub tells of what it did: to the event log, for back ends to read.
//!
//! What changed is on disk before its event; the event is on disk before the change is acknowledged. An event that cannot
//! be written breaks nothing: the change stands, and the hub's log says so.

use ferrohub_model::HubError;
use serde_json::Value;
use tokio::sync::MutexGuard;
use tracing::{error, warn};

use super::Hub;
use crate::connections::Connection;
use crate::events::{EventSource, HubEvent, Origin};
use crate::registry::Identity;

/// Does something to its end, whether or not anybody waits for it: nothing comes between a change and what it entails.
pub(super) async fn run_uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, HubError>> + Send + 'static,
) -> Result<T, HubError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        error!(%error, "an operation did not come to its end");
        Err(HubError::new(ferrohub_model::ErrorCode::ServerError, "The operation did not come to its end."))
    })
}

impl Hub {
    /// Whether the log is to have events of this kind.
    pub(super) fn emits(&self, source: EventSource) -> bool {
        self.events.settings().sources.contains(&source)
    }

    /// Whoever holds this changes and tells of an identity alone, so that events are in the order of changes. None if
    /// nobody is told.
    pub(super) async fn lock_event_order(
        &self,
        source: EventSource,
        id: &ferrohub_model::IdentityId,
    ) -> Option<MutexGuard<'_, ()>> {
        if !self.emits(source) {
            return None;
        }
        match self.identity_locks.get(id) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    /// Tells of something that was done to an identity, if that is wanted.
    pub(super) async fn emit(&self, identity: &Identity, event: HubEvent, body: impl FnOnce() -> Value) {
        if !self.emits(event.source()) {
            return;
        }
        let now = self.clock.now();
        let new_event = event.to_event(&self.host, &identity.id, now, &body());
        let origin =
            Origin { id: identity.id.clone(), generation_id: identity.generation_id.clone(), auth: None };
        if let Err(error) = self.events.append(event.source(), origin, vec![new_event], now).await {
            warn!(device = %identity.id, ?event, %error, "the event log does not tell of it");
        }
    }

    /// Runs what changes who is connected, and tells of what `change` says came about, in its order.
    pub(super) fn emit_connection_events<T>(
        &self,
        change: impl FnOnce(&mut dyn FnMut(&Connection, HubEvent)) -> T,
    ) -> T {
        let Some(events) = &self.connection_events else { return change(&mut |_, _| {}) };
        let mut pending = events.lock();
        let mut emitted = false;
        let outcome = change(&mut |connection, event| {
            emitted = true;
            pending.push(connection.origin(), event, self.clock.now());
        });
        drop(pending);
        if emitted {
            events.spawn_writer();
        }
        outcome
    }
}
