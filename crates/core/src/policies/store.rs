//! The part of the store port that keeps shared access policies.

use async_trait::async_trait;
use ferrohub_model::{Rights, SharedAccessKey};

use crate::store_error::StoreError;

/// A shared access policy as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// The name; the `skn` of tokens.
    pub name: String,
    /// The rights that it grants.
    pub rights: Rights,
    /// The primary key. Tokens may be signed with either key.
    pub primary_key: SharedAccessKey,
    /// The secondary key.
    pub secondary_key: SharedAccessKey,
}

/// Shared access policies.
#[async_trait]
pub trait PolicyStore: Send + Sync + 'static {
    /// Returns all policies, sorted by name.
    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError>;

    /// Adds or replaces a policy.
    async fn save_policy(&self, policy: &StoredPolicy) -> Result<(), StoreError>;
}
