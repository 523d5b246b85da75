//! Twins.

use async_trait::async_trait;
use ferrohub_core::registry::Identity;
use ferrohub_core::store::StoreError;
use ferrohub_core::twins::{TwinDocument, TwinStore};
use ferrohub_model::IdentityId;

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl TwinStore for SqliteStore {
    async fn twin(&self, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError> {
        let id = id.clone();
        self.readers.read_inline(move |db| statements::twin(db, &id)).await
    }
}
