//! The part of the store port that keeps sessions, connection states and activity times.

use async_trait::async_trait;
use ferrohub_model::{IdentityId, Timestamp};

use crate::registry::Identity;
use crate::session::Session;
use crate::store_error::StoreError;

/// The connection state of an identity and the time of its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether the identity is connected.
    pub connected: bool,
    /// When it connected or disconnected.
    pub since: Timestamp,
}

/// The last activity of an identity. For display only: the hub makes no decisions based on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// The identity.
    pub id: IdentityId,
    /// The generation that it applies to, so that a re-created device does not inherit it.
    pub generation_id: String,
    /// The new connection state; `None` if it did not change.
    pub presence: Option<Presence>,
    /// When the hub last received data from it.
    pub last_activity: Timestamp,
}

/// The outcome of saving a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveSessionOutcome {
    /// The session is persisted.
    Saved,
    /// The identity does not exist.
    NotFound,
}

/// Sessions, connection states and activity times.
#[async_trait]
pub trait ConnectionStore: Send + Sync + 'static {
    /// Returns an identity and its session, if it has one, in a single read. For connects.
    async fn identity_and_session(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError>;

    /// Saves the session of an identity, or deletes it (`None`).
    async fn save_session(
        &self,
        id: &IdentityId,
        session: Option<&Session>,
    ) -> Result<SaveSessionOutcome, StoreError>;

    /// Saves activities. Skips identities that no longer exist, and never sets a time to an earlier value.
    async fn save_activity(&self, activity: &[Activity]) -> Result<(), StoreError>;

    /// Marks the identities that are stored as connected to this node as disconnected since `since`. Returns their number. A
    /// store that only one node at a time can open marks all.
    async fn mark_all_disconnected(&self, node: &str, since: Timestamp) -> Result<u64, StoreError>;
}
