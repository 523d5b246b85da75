//! Leases of work that must happen once in a hub.

use async_trait::async_trait;
use ferrohub_core::background::{LeaseOutcome, LeaseRequest, LeaseStore};
use ferrohub_core::store::StoreError;
use ferrohub_model::Timestamp;

use super::MemoryStore;
use super::state::State;

/// The last grant of a lease. It stays when the lease is released, so that the fence keeps increasing.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// `None` if the lease was released.
    holder: Option<String>,
    fence: u64,
    expiry: Timestamp,
}

impl State {
    fn acquire(&mut self, request: &LeaseRequest) -> LeaseOutcome {
        let LeaseRequest { name, holder, now, expiry } = request;
        let mut fence = 1;
        if let Some(lease) = self.leases.get(name) {
            if let Some(other) = &lease.holder
                && other != holder
                && lease.expiry > *now
            {
                return LeaseOutcome::Held { holder: other.clone(), until: lease.expiry };
            }
            fence = lease.fence + 1;
        }
        self.leases.insert(name.clone(), Lease { holder: Some(holder.clone()), fence, expiry: *expiry });
        LeaseOutcome::Granted { fence }
    }

    /// Returns the lease if it was granted with this fence and is not released.
    fn granted(&mut self, name: &str, fence: u64) -> Option<&mut Lease> {
        self.leases.get_mut(name).filter(|lease| lease.fence == fence && lease.holder.is_some())
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn acquire_lease(&self, request: &LeaseRequest) -> Result<LeaseOutcome, StoreError> {
        self.write(|state| state.acquire(request)).await
    }

    async fn renew_lease(&self, name: &str, fence: u64, expiry: Timestamp) -> Result<bool, StoreError> {
        let renew = |lease: &mut Lease| lease.expiry = expiry;
        self.write(|state| state.granted(name, fence).map(renew).is_some()).await
    }

    async fn release_lease(&self, name: &str, fence: u64) -> Result<bool, StoreError> {
        let release = |lease: &mut Lease| lease.holder = None;
        self.write(|state| state.granted(name, fence).map(release).is_some()).await
    }
}
