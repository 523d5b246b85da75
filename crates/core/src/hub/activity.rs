//! When identities were last heard of, on its way to the store.
//!
//! People look at it and nothing is decided by it, so it need not be on disk at once: what came together within a second
//! is written together, and a storm of devices that come and go costs the disk next to nothing. Readers see it before.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferrohub_model::IdentityId;
use tracing::warn;

use crate::registry::Identity;
use crate::store::{Activity, Store};

/// How long it waits for company.
const DELAY: Duration = Duration::from_secs(1);

/// What is not on disk yet.
#[derive(Debug, Default)]
pub(super) struct RecentActivity {
    waiting: Mutex<HashMap<IdentityId, Activity>>,
}

impl RecentActivity {
    fn lock(&self) -> MutexGuard<'_, HashMap<IdentityId, Activity>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `activity` for now, and sees to it that it is written.
    pub(super) fn note(self: &Arc<Self>, activity: Activity, store: &Arc<dyn Store>) {
        let mut waiting = self.lock();
        let is_first = waiting.is_empty();
        waiting.insert(activity.id.clone(), activity);
        drop(waiting);
        // As long as something waits there is a task that writes it.
        if is_first {
            let (recent, store) = (self.clone(), store.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(DELAY).await;
                    if recent.write(&*store).await {
                        return;
                    }
                }
            });
        }
    }

    /// Writes what waits now; true when nothing else came meanwhile.
    pub(super) async fn write(&self, store: &dyn Store) -> bool {
        let written: Vec<Activity> = self.lock().values().cloned().collect();
        if let Err(cause) = store.save_activity(&written).await {
            warn!(%cause, devices = written.len(), "when devices were last heard of is not on disk");
        }
        let mut waiting = self.lock();
        for one in &written {
            if waiting.get(&one.id) == Some(one) {
                waiting.remove(&one.id);
            }
        }
        waiting.is_empty()
    }

    /// The identity as it will be once everything is written.
    pub(super) fn apply<'a>(&self, identity: &'a Identity) -> Cow<'a, Identity> {
        match self.lock().get(&identity.id).filter(|one| one.generation_id == identity.generation_id) {
            None => Cow::Borrowed(identity),
            Some(newer) => Cow::Owned(Identity {
                connection_state_updated: newer.connection_state_updated,
                last_activity: newer.last_activity,
                ..identity.clone()
            }),
        }
    }
}
