//! Sessions, connection states and activity times.

use async_trait::async_trait;
use ferrohub_core::connections::{Activity, ConnectionStore, SaveSessionOutcome};
use ferrohub_core::registry::Identity;
use ferrohub_core::session::Session;
use ferrohub_core::store::StoreError;
use ferrohub_model::{IdentityId, Timestamp};

use super::MemoryStore;
use super::state::StoredIdentity;

impl StoredIdentity {
    fn record(&mut self, activity: &Activity) {
        self.identity.last_activity = self.identity.last_activity.max(activity.last_activity);
        if let Some(presence) = activity.presence
            && presence.since >= self.identity.connection_state_updated
        {
            self.connected = presence.connected;
            self.identity.connection_state_updated = presence.since;
        }
    }
}

#[async_trait]
impl ConnectionStore for MemoryStore {
    async fn identity_and_session(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError> {
        self.read(|state| {
            let stored = state.identities.get(id)?;
            Some((state.counted(&stored.identity), stored.session))
        })
        .await
    }

    async fn save_session(
        &self,
        id: &IdentityId,
        session: Option<&Session>,
    ) -> Result<SaveSessionOutcome, StoreError> {
        let save = |stored: &mut StoredIdentity| {
            stored.session = session.copied();
            SaveSessionOutcome::Saved
        };
        self.write(|state| state.identities.get_mut(id).map_or(SaveSessionOutcome::NotFound, save)).await
    }

    async fn save_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        self.write(|state| {
            for one in activity {
                if let Some(stored) = state.identities.get_mut(&one.id)
                    && stored.identity.generation_id == one.generation_id
                {
                    stored.record(one);
                }
            }
        })
        .await
    }

    async fn mark_all_disconnected(&self, _node: &str, since: Timestamp) -> Result<u64, StoreError> {
        self.write(|state| {
            let mut marked = 0;
            for stored in state.identities.values_mut().filter(|stored| stored.connected) {
                stored.connected = false;
                let updated = &mut stored.identity.connection_state_updated;
                *updated = since.max(*updated);
                marked += 1;
            }
            marked
        })
        .await
    }
}
