//! Settings of the hub: policies and certificate authorities.

use async_trait::async_trait;
use ferrohub_core::authorities::{AuthorityStore, DeleteAuthorityOutcome, StoredAuthority};
use ferrohub_core::policies::{PolicyStore, StoredPolicy};
use ferrohub_core::store::StoreError;

use super::MemoryStore;

#[async_trait]
impl PolicyStore for MemoryStore {
    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        self.read(|state| state.policies.values().cloned().collect()).await
    }

    async fn save_policy(&self, policy: &StoredPolicy) -> Result<(), StoreError> {
        self.write(|state| drop(state.policies.insert(policy.name.clone(), policy.clone()))).await
    }
}

#[async_trait]
impl AuthorityStore for MemoryStore {
    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError> {
        self.read(|state| state.authorities.values().cloned().collect()).await
    }

    async fn save_authority(&self, authority: &StoredAuthority) -> Result<(), StoreError> {
        self.write(|state| drop(state.authorities.insert(authority.name.clone(), authority.clone()))).await
    }

    async fn delete_authority(&self, name: &str) -> Result<DeleteAuthorityOutcome, StoreError> {
        let outcome = |removed: Option<_>| match removed {
            Some(_) => DeleteAuthorityOutcome::Deleted,
            None => DeleteAuthorityOutcome::NotFound,
        };
        self.write(|state| outcome(state.authorities.remove(name))).await
    }
}
