//! The part of the store port that grants leases to the nodes of a hub.

use async_trait::async_trait;
use ferrohub_model::Timestamp;

use crate::store_error::StoreError;

/// A request for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The work that only the holder does, such as `file-maintenance`.
    pub name: String,
    /// The node that asks.
    pub holder: String,
    /// The current time.
    pub now: Timestamp,
    /// When the lease ends unless it is renewed.
    pub expiry: Timestamp,
}

/// The outcome of a request for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The node holds the lease.
    Granted {
        /// Larger than that of every earlier grant of this lease: it tells this holder from earlier ones.
        fence: u64,
    },
    /// Another node holds the lease.
    Held {
        /// That node.
        holder: String,
        /// When its lease ends unless it is renewed.
        until: Timestamp,
    },
}

/// Leases: work that must happen once in a hub is done by the node that holds its lease.
#[async_trait]
pub trait LeaseStore: Send + Sync + 'static {
    /// Grants a lease that is free, has expired, or belongs to the same holder. A node that was started again therefore
    /// gets its leases at once, and an earlier process of it can no longer renew them.
    async fn acquire_lease(&self, request: &LeaseRequest) -> Result<LeaseOutcome, StoreError>;

    /// Sets the expiry of the lease that was granted with this fence. Returns false, and changes nothing, if the lease
    /// was released or granted again since.
    async fn renew_lease(&self, name: &str, fence: u64, expiry: Timestamp) -> Result<bool, StoreError>;

    /// Frees the lease that was granted with this fence. Returns false, and changes nothing, if the lease was released
    /// or granted again since.
    async fn release_lease(&self, name: &str, fence: u64) -> Result<bool, StoreError>;
}
