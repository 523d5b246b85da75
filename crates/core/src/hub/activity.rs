//! When identities were last heard of, on its way to the store.
//!
//! People look at it and nothing is decided by it, so it need not be on disk at once: what came together within a second
//! is written together, and a storm of devices that come and go costs the disk next to nothing. Readers see it before,
//! and no time that they see runs backwards, but for what a hub that dies takes with it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferrohub_model::IdentityId;
use tracing::warn;

use super::Hub;
use crate::connections::Connection;
use crate::registry::Identity;
use crate::store::{Activity, Presence, Store};

/// How long it waits for company.
const WRITE_DELAY: Duration = Duration::from_secs(1);

/// How many are written at once: other writes come between.
const BATCH_SIZE: usize = 1000;

/// What is not on disk yet, or not for long: who read the row before it was written looks here after that.
#[derive(Debug, Default)]
pub(super) struct RecentActivity {
    pending: Mutex<HashMap<IdentityId, RecentEntry>>,
}

#[derive(Debug)]
struct RecentEntry {
    activity: Activity,
    written: bool,
}

fn later(one: Option<Presence>, other: Option<Presence>) -> Option<Presence> {
    match (one, other) {
        (Some(one), Some(other)) if other.since < one.since => Some(one),
        (one, other) => other.or(one),
    }
}

impl RecentActivity {
    fn lock(&self) -> MutexGuard<'_, HashMap<IdentityId, RecentEntry>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `activity` for now, and sees to it that it is written.
    pub(super) fn record(self: &Arc<Self>, activity: Activity, store: &Arc<dyn Store>) {
        let mut pending = self.lock();
        let is_first = pending.is_empty();
        match pending.entry(activity.id.clone()) {
            Entry::Occupied(mut known) if known.get().activity.generation_id == activity.generation_id => {
                let known = known.get_mut();
                known.written = false;
                known.activity.presence = later(known.activity.presence, activity.presence);
                known.activity.last_activity = known.activity.last_activity.max(activity.last_activity);
            }
            entry => drop(entry.insert_entry(RecentEntry { activity, written: false })),
        }
        drop(pending);
        // As long as something waits there is a task that writes it.
        if is_first {
            let (recent, store) = (self.clone(), store.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(WRITE_DELAY).await;
                    if recent.write(&*store).await {
                        return;
                    }
                }
            });
        }
    }

    /// Writes what waits now, and forgets what was written the last time; true when there is nothing left.
    pub(super) async fn write(&self, store: &dyn Store) -> bool {
        let batch: Vec<Activity> = {
            let mut pending = self.lock();
            pending.retain(|_, recent| !recent.written);
            pending.values().map(|recent| recent.activity.clone()).collect()
        };
        for part in batch.chunks(BATCH_SIZE) {
            if let Err(error) = store.save_activity(part).await {
                warn!(%error, devices = part.len(), "when devices were last heard of is not on disk");
            }
        }
        let mut pending = self.lock();
        for one in &batch {
            if let Some(recent) = pending.get_mut(&one.id)
                && recent.activity == *one
            {
                recent.written = true;
            }
        }
        pending.is_empty()
    }

    /// The identity as it will be once everything is written.
    pub(super) fn apply<'a>(&self, identity: &'a Identity) -> Cow<'a, Identity> {
        let pending = self.lock();
        let recent = pending.get(&identity.id).map(|recent| &recent.activity);
        match recent.filter(|one| one.generation_id == identity.generation_id) {
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
    /// An identity with its times as they are now, and whether it is connected.
    pub(super) fn with_current_activity<'a>(&self, identity: &'a Identity) -> (Cow<'a, Identity>, bool) {
        // The connection first: when it ends, that is noted before it is gone from the table.
        let connection = self.connections.get(&identity.id);
        let mut seen = self.recent_activity.apply(identity);
        let Some(connection) = connection.filter(|one| one.generation_id == identity.generation_id) else {
            return (seen, false);
        };
        let times = seen.to_mut();
        times.connection_state_updated = times.connection_state_updated.max(connection.connected);
        times.last_activity = times.last_activity.max(connection.last_activity());
        (seen, connection.close_reason().is_none())
    }

    /// An identity came or went.
    pub(super) fn record_presence(&self, connection: &Connection, connected: bool) {
        let since = if connected { connection.connected } else { self.clock.now() };
        let activity = Activity {
            id: connection.id.clone(),
            generation_id: connection.generation_id.clone(),
            presence: Some(Presence { connected, since }),
            last_activity: connection.last_activity(),
        };
        self.recent_activity.record(activity, &self.store);
    }

    /// The hub heard from an identity that needs no connection.
    pub(super) fn record_activity(&self, identity: &Identity) {
        let activity = Activity {
            id: identity.id.clone(),
            generation_id: identity.generation_id.clone(),
            presence: None,
            last_activity: self.clock.now(),
        };
        self.recent_activity.record(activity, &self.store);
    }

    /// Writes down again and again when connected devices were last heard of, so that a hub that dies has not forgotten
    /// more than [`Limits::activity_flush_interval`](crate::limits::Limits) of it. Never ends.
    pub async fn run_activity_writer(&self) {
        let mut written = self.clock.now();
        loop {
            tokio::time::sleep(self.limits.activity_flush_interval).await;
            let (since, now) = (written, self.clock.now());
            written = now;
            let heard = self.connections.select(|connection| connection.last_activity() >= since);
            for part in heard.chunks(BATCH_SIZE) {
                let of = |connection: &Arc<Connection>| Activity {
                    id: connection.id.clone(),
                    generation_id: connection.generation_id.clone(),
                    presence: None,
                    last_activity: connection.last_activity(),
                };
                let activity: Vec<Activity> = part.iter().map(of).collect();
                if let Err(error) = self.store.save_activity(&activity).await {
                    warn!(%error, devices = activity.len(), "when devices were last heard of is not on disk");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::Timestamp;

    use super::*;

    #[test]
    fn whoever_came_or_went_last_counts() {
        let presence =
            |connected, second| Some(Presence { connected, since: Timestamp::from_unix_seconds(second) });
        assert_eq!(later(None, presence(true, 1)), presence(true, 1));
        assert_eq!(later(presence(true, 2), presence(false, 1)), presence(true, 2));
        assert_eq!(later(presence(true, 2), presence(false, 2)), presence(false, 2));
        assert_eq!(later(presence(true, 2), None), presence(true, 2));
    }
}
