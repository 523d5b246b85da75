//! How the store works, as numbers.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of one store. Clones share the numbers.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics {
    /// Writes that were acknowledged
    pub writes: Counter,
    /// Transactions that reached the disk. Writes per commit is how well callers share them.
    pub commits: Counter,
}

impl StoreMetrics {
    /// Counters that show in `registry` as `ferrohub_store_writes_total` and `ferrohub_store_commits_total`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("ferrohub_store_writes", "Durable writes acknowledged", metrics.writes.clone());
        registry.register(
            "ferrohub_store_commits",
            "Transactions committed; writes share them",
            metrics.commits.clone(),
        );
        metrics
    }
}
