//! Sessions, connection states and activity times.

use async_trait::async_trait;
use ferrohub_core::connections::{Activity, ConnectionStore, SaveSessionOutcome};
use ferrohub_core::registry::Identity;
use ferrohub_core::session::Session;
use ferrohub_core::store::StoreError;
use ferrohub_model::{IdentityId, Timestamp};

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl ConnectionStore for SqliteStore {
    async fn identity_and_session(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError> {
        let id = id.clone();
        self.readers.read_inline(move |db| statements::identity_and_session(db, &id)).await
    }

    async fn save_session(
        &self,
        id: &IdentityId,
        session: Option<&Session>,
    ) -> Result<SaveSessionOutcome, StoreError> {
        let (id, session) = (id.clone(), session.copied());
        self.writer.write(move |db| statements::save_session(db, &id, session)).await
    }

    async fn save_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        let activity = activity.to_vec();
        self.writer.write(move |db| statements::save_activity(db, &activity)).await
    }

    async fn mark_all_disconnected(&self, _node: &str, since: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::mark_all_disconnected(db, since)).await
    }
}
