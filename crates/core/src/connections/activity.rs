//! Buffers the last-activity and connection times of identities (devices and modules) before they are written to the
//! store. Activity is any packet or request that the hub receives from the identity.
//!
//! The times are informational: no decision of the hub depends on them, so they need not be persisted at once. Updates
//! of one second are written together, so that many connects and disconnects at once cause almost no disk writes.
//! Readers see buffered times immediately. Times never go backwards, unless a crash loses the buffered times.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferrohub_model::device::ConnectionState;
use ferrohub_model::{IdentityId, Timestamp};
use tokio::sync::Notify;
use tracing::warn;

use crate::background::Stop;
use crate::clock::Clock;
use crate::connections::{Activity, ConnectionStore, Presence};
use crate::hub::Hub;
use crate::node::{Connection, Connections};
use crate::registry::Identity;
use crate::store_error::StoreError;

/// How long updates are collected before they are written.
const WRITE_DELAY: Duration = Duration::from_secs(1);

/// The maximum number of updates in one write, so that other writes can run in between.
const BATCH_SIZE: usize = 1000;

/// Updates that are not persisted yet, and those that the last write persisted. The latter are kept until the next
/// write, for a reader that read the row before they were written.
#[derive(Debug, Default)]
pub(crate) struct RecentActivity {
    entries: Mutex<HashMap<IdentityId, RecentEntry>>,
    /// Wakes the task that writes.
    wake: Notify,
}

#[derive(Debug)]
struct RecentEntry {
    activity: Activity,
    written: bool,
}

/// Returns the later connection state; `new` if the times are equal.
fn later_presence(old: Option<Presence>, new: Option<Presence>) -> Option<Presence> {
    match (old, new) {
        (Some(old), Some(new)) if new.since < old.since => Some(old),
        (old, new) => new.or(old),
    }
}

impl RecentActivity {
    fn lock(&self) -> MutexGuard<'_, HashMap<IdentityId, RecentEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Buffers `activity`, and wakes the task that writes the buffer.
    pub(crate) fn record(&self, activity: Activity) {
        let mut entries = self.lock();
        let is_first = entries.is_empty();
        match entries.entry(activity.id.clone()) {
            Entry::Occupied(mut entry) if entry.get().activity.generation_id == activity.generation_id => {
                let recent = entry.get_mut();
                recent.written = false;
                recent.activity.presence = later_presence(recent.activity.presence, activity.presence);
                recent.activity.last_activity = recent.activity.last_activity.max(activity.last_activity);
            }
            entry => drop(entry.insert_entry(RecentEntry { activity, written: false })),
        }
        drop(entries);
        // While the buffer is not empty, the task does not wait.
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Writes the buffer while it is not empty, until it is stopped.
    pub(crate) async fn run(self: Arc<Self>, store: Arc<dyn ConnectionStore>, mut stop: Stop) {
        while !stop.is_requested() {
            if self.lock().is_empty() {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = stop.requested() => return,
                }
            }
            if !stop.requested_within(WRITE_DELAY).await {
                self.write(&*store).await;
            }
        }
    }

    /// Writes the buffered updates, and removes those that the previous call wrote. Updates that cannot be written stay
    /// buffered and are written by the next call.
    pub(crate) async fn write(&self, store: &dyn ConnectionStore) {
        let batch = self.unwritten();
        for part in batch.chunks(BATCH_SIZE) {
            match store.save_activity(part).await {
                Ok(()) => self.mark_written(part),
                // The hub is stopping: nothing can be written any more.
                Err(StoreError::Closed) => return,
                Err(error) => warn!(
                    %error,
                    identities = part.len(),
                    retry_seconds = WRITE_DELAY.as_secs(),
                    "cannot save last-activity and connection times; the hub tries again"
                ),
            }
        }
    }

    /// Removes the updates that are written, and returns the others.
    fn unwritten(&self) -> Vec<Activity> {
        let mut entries = self.lock();
        entries.retain(|_, recent| !recent.written);
        entries.values().map(|recent| recent.activity.clone()).collect()
    }

    /// Marks updates as written, unless a newer update of the identity came in the meantime.
    fn mark_written(&self, activities: &[Activity]) {
        let mut entries = self.lock();
        for activity in activities {
            if let Some(recent) = entries.get_mut(&activity.id)
                && recent.activity == *activity
            {
                recent.written = true;
            }
        }
    }

    /// Returns the buffered last-activity time of this generation of an identity.
    pub(super) fn last_activity(&self, id: &IdentityId, generation_id: &str) -> Option<Timestamp> {
        let entries = self.lock();
        let activity = entries.get(id).map(|recent| &recent.activity)?;
        (activity.generation_id == generation_id).then_some(activity.last_activity)
    }

    /// Returns the identity with its buffered times.
    pub(crate) fn with_buffered_times<'a>(&self, identity: &'a Identity) -> Cow<'a, Identity> {
        let entries = self.lock();
        let recent = entries.get(&identity.id).map(|recent| &recent.activity);
        match recent.filter(|activity| activity.generation_id == identity.generation_id) {
            None => Cow::Borrowed(identity),
            Some(newer) => Cow::Owned(Identity {
                connection_state_updated: newer
                    .presence
                    .map_or(identity.connection_state_updated, |presence| presence.since)
                    .max(identity.connection_state_updated),
                last_activity: newer.last_activity.max(identity.last_activity),
                ..identity.clone()
            }),
        }
    }
}

impl Hub {
    /// Returns an identity with its current times, and whether it is connected.
    pub(crate) fn with_current_activity<'a>(&self, identity: &'a Identity) -> (Cow<'a, Identity>, bool) {
        // Get the connection before the buffered times: when a connection ends, its times are buffered before it leaves
        // the table.
        let connection = self.connections.get(&identity.id);
        let mut current = self.recent_activity.with_buffered_times(identity);
        let Some(connection) = connection.filter(|found| found.generation_id == identity.generation_id)
        else {
            return (current, false);
        };
        let connected_at = connection.connected_at;
        let identity = current.to_mut();
        identity.connection_state_updated = identity.connection_state_updated.max(connected_at);
        identity.last_activity = identity.last_activity.max(connection.last_activity());
        (current, connection.close_reason().is_none())
    }

    /// Records that the identity of `connection` connected or disconnected, with the time.
    pub(crate) fn record_connection_state(&self, connection: &Connection, state: ConnectionState) {
        let (connected, since) = match state {
            ConnectionState::Connected => (true, connection.connected_at),
            ConnectionState::Disconnected => (false, self.clock.now()),
        };
        let activity = Activity {
            id: connection.id.clone(),
            generation_id: connection.generation_id.clone(),
            presence: Some(Presence { connected, since }),
            last_activity: connection.last_activity(),
        };
        self.recent_activity.record(activity);
    }

    /// Records activity of an identity over HTTPS, where it has no connection.
    pub(crate) fn record_activity(&self, identity: &Identity) {
        let activity = Activity {
            id: identity.id.clone(),
            generation_id: identity.generation_id.clone(),
            presence: None,
            last_activity: self.clock.now(),
        };
        self.recent_activity.record(activity);
    }
}

/// Saves the last-activity times of connected devices and modules periodically, so that a crash loses at most the last
/// [`Limits::activity_flush_interval`](crate::limits::Limits::activity_flush_interval).
///
/// A connection keeps its last-activity time itself. The time is buffered only when an identity connects or disconnects.
pub(crate) struct ActivityWriter {
    pub(crate) connections: Arc<Connections>,
    pub(crate) store: Arc<dyn ConnectionStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) interval: Duration,
}

impl ActivityWriter {
    /// Runs until it is stopped.
    pub(crate) async fn run(self: Arc<Self>, mut stop: Stop) {
        let mut last_run = self.clock.now();
        while !stop.requested_within(self.interval).await {
            let (since, now) = (last_run, self.clock.now());
            last_run = now;
            let active = self.connections.select(|connection| connection.last_activity() >= since);
            for part in active.chunks(BATCH_SIZE) {
                let to_activity = |connection: &Arc<Connection>| Activity {
                    id: connection.id.clone(),
                    generation_id: connection.generation_id.clone(),
                    presence: None,
                    last_activity: connection.last_activity(),
                };
                let activity: Vec<Activity> = part.iter().map(to_activity).collect();
                if let Err(error) = self.store.save_activity(&activity).await {
                    warn!(
                        %error,
                        identities = activity.len(),
                        "cannot save last-activity times; each is saved with the next activity or the disconnect"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_presence_wins() {
        let presence =
            |connected, second| Some(Presence { connected, since: Timestamp::from_unix_seconds(second) });
        assert_eq!(later_presence(None, presence(true, 1)), presence(true, 1));
        assert_eq!(later_presence(presence(true, 2), presence(false, 1)), presence(true, 2));
        assert_eq!(later_presence(presence(true, 2), presence(false, 2)), presence(false, 2));
        assert_eq!(later_presence(presence(true, 2), None), presence(true, 2));
    }

    #[test]
    fn updates_stay_until_they_are_written() {
        let recent = RecentActivity::default();
        let activity = Activity {
            id: IdentityId::parse("d").unwrap(),
            generation_id: String::new(),
            presence: None,
            last_activity: Timestamp::from_unix_seconds(1),
        };
        let entry = RecentEntry { activity: activity.clone(), written: false };
        recent.lock().insert(activity.id.clone(), entry);
        let only = std::slice::from_ref(&activity);
        assert_eq!(recent.unwritten(), only);
        assert_eq!(recent.unwritten(), only, "the write failed");
        recent.mark_written(only);
        assert!(!recent.lock().is_empty(), "a reader that read the row before the write finds the update");
        assert!(recent.unwritten().is_empty() && recent.lock().is_empty());
    }
}
