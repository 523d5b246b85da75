//! What a query needs that the store does not have: which identities are connected, and when they were last active.

use ferrohub_model::{IdentityId, Timestamp};

/// The live state of identities. Queries call it on blocking threads, for each row that they test.
pub trait LiveState: Send + Sync + 'static {
    /// Returns whether this generation of the identity is connected now.
    fn is_connected(&self, id: &IdentityId, generation_id: &str) -> bool;

    /// Returns when the hub last received data from this generation of the identity; `stored` is the time in the store.
    fn last_activity(&self, id: &IdentityId, generation_id: &str, stored: Timestamp) -> Timestamp;
}
