//! Shared access policies and certificate authorities.

use async_trait::async_trait;
use ferrohub_core::authorities::{AuthorityStore, DeleteAuthorityOutcome, StoredAuthority};
use ferrohub_core::policies::{PolicyStore, StoredPolicy};
use ferrohub_core::store::StoreError;

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl PolicyStore for SqliteStore {
    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        self.readers.read(statements::policies).await
    }

    async fn save_policy(&self, policy: &StoredPolicy) -> Result<(), StoreError> {
        let policy = policy.clone();
        self.writer.write(move |db| statements::save_policy(db, &policy)).await
    }
}

#[async_trait]
impl AuthorityStore for SqliteStore {
    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError> {
        self.readers.read(statements::authorities).await
    }

    async fn save_authority(&self, authority: &StoredAuthority) -> Result<(), StoreError> {
        let authority = authority.clone();
        self.writer.write(move |db| statements::save_authority(db, &authority)).await
    }

    async fn delete_authority(&self, name: &str) -> Result<DeleteAuthorityOutcome, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |db| statements::delete_authority(db, &name)).await
    }
}
