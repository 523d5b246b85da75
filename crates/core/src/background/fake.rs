//! A store of leases for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ferrohub_model::Timestamp;

use super::{LeaseOutcome, LeaseRequest, LeaseStore, Leases};
use crate::clock::Clock;
use crate::store_error::StoreError;

/// Leases in memory: holder, fence and expiry by name.
#[derive(Debug, Default)]
pub(crate) struct FakeLeases(pub(crate) Mutex<BTreeMap<String, (String, u64, Timestamp)>>);

impl FakeLeases {
    fn change(&self, name: &str, fence: u64, expiry: Timestamp) -> bool {
        let mut leases = self.0.lock().unwrap();
        match leases.get_mut(name) {
            Some(lease) if lease.1 == fence => {
                lease.2 = expiry;
                true
            }
            _ => false,
        }
    }
}

#[async_trait]
impl LeaseStore for FakeLeases {
    async fn acquire_lease(&self, request: &LeaseRequest) -> Result<LeaseOutcome, StoreError> {
        let mut leases = self.0.lock().unwrap();
        let fence = match leases.get(&request.name) {
            Some((holder, _, expiry)) if *holder != request.holder && *expiry > request.now => {
                return Ok(LeaseOutcome::Held { holder: holder.clone(), until: *expiry });
            }
            Some((_, fence, _)) => fence + 1,
            None => 1,
        };
        leases.insert(request.name.clone(), (request.holder.clone(), fence, request.expiry));
        Ok(LeaseOutcome::Granted { fence })
    }
    async fn renew_lease(&self, name: &str, fence: u64, expiry: Timestamp) -> Result<bool, StoreError> {
        Ok(self.change(name, fence, expiry))
    }
    async fn release_lease(&self, name: &str, fence: u64) -> Result<bool, StoreError> {
        Ok(self.change(name, fence, Timestamp::MIN))
    }
}

/// The leases of a node that has no others beside it.
pub(crate) fn leases(clock: Arc<dyn Clock>) -> Leases {
    Leases { store: Arc::<FakeLeases>::default(), clock, node: "node".to_owned() }
}
