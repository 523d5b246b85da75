//! Emits hub events to the event log, which services read.
//!
//! A change is persisted before its event, and the event is persisted before the change is acknowledged. If the event
//! cannot be written, the change stays in effect and the hub logs a warning.

use serde_json::Value;
use tokio::sync::MutexGuard;
use tracing::warn;

use crate::hub::Hub;
use crate::node::Connection;
use crate::registry::Identity;
use crate::telemetry::{EventIdentity, EventSource, HubEvent};

impl Hub {
    /// Returns whether the event log includes events of this source.
    pub(crate) fn emits(&self, source: EventSource) -> bool {
        self.events.settings().sources.contains(&source)
    }

    /// Locks an identity so that its events are emitted in the order of its changes: hold the lock while changing the
    /// identity and emitting the event. Returns `None` if events of this source are not emitted.
    pub(crate) async fn lock_event_order(
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

    /// Emits an event about a change of an identity, if the event log includes events of its source.
    pub(crate) async fn emit(&self, identity: &Identity, event: HubEvent, body: impl FnOnce() -> Value) {
        if !self.emits(event.source()) {
            return;
        }
        let now = self.clock.now();
        let new_event = event.to_event(&self.host, &identity.id, now, &body());
        let event_identity = EventIdentity {
            id: identity.id.clone(),
            generation_id: identity.generation_id.clone(),
            auth: None,
        };
        if let Err(error) = self.events.append(event.source(), event_identity, vec![new_event], now).await {
            warn!(device = %identity.id, ?event, %error, "cannot write a hub event to the event log");
        }
    }

    /// Runs `change`, which attaches or detaches connections, and emits the events that it reports, in that order.
    pub(crate) fn emit_connection_events<T>(
        &self,
        change: impl FnOnce(&mut dyn FnMut(&Connection, HubEvent)) -> T,
    ) -> T {
        let Some(events) = &self.connection_events else { return change(&mut |_, _| {}) };
        let mut pending = events.lock();
        let mut emitted = false;
        let outcome = change(&mut |connection, event| {
            emitted = true;
            pending.push(connection.event_identity(), event, self.clock.now());
        });
        drop(pending);
        if emitted {
            events.wake_writer();
        }
        outcome
    }
}
