//! Leases.

use async_trait::async_trait;
use ferrohub_core::background::{LeaseOutcome, LeaseRequest, LeaseStore};
use ferrohub_core::store::StoreError;
use ferrohub_model::Timestamp;

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn acquire_lease(&self, request: &LeaseRequest) -> Result<LeaseOutcome, StoreError> {
        let request = request.clone();
        self.writer.write(move |db| statements::acquire_lease(db, &request)).await
    }

    async fn renew_lease(&self, name: &str, fence: u64, expiry: Timestamp) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |db| statements::set_lease_expiry(db, &name, fence, expiry)).await
    }

    async fn release_lease(&self, name: &str, fence: u64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |db| statements::release_lease(db, &name, fence)).await
    }
}
