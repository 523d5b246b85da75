//! How the store works, as numbers.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of one store. Clones share the numbers.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics {
    /// Writes that were acknowledged
    pub writes: Counter,
    /// Transactions that reached the disk. Writes per commit is how well callers share them.
    pub commits: Counter,
    /// Messages that wait for devices.
    pub messages_waiting: Gauge<i64, AtomicI64>,
}

/// How many messages there are.
pub(crate) type MessagesWaiting = Gauge<i64, AtomicI64>;

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
        registry.register(
            "ferrohub_messages_waiting",
            "Messages that wait for devices",
            metrics.messages_waiting.clone(),
        );
        metrics
    }

    /// The same for the event log: `ferrohub_event_log_writes_total` and `ferrohub_event_log_commits_total`.
    #[must_use]
    pub fn register_for_events(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "ferrohub_event_log_writes",
            "Batches of events that are on disk, and steps of trimming",
            metrics.writes.clone(),
        );
        registry.register(
            "ferrohub_event_log_commits",
            "Transactions of the event log; batches share them",
            metrics.commits.clone(),
        );
        metrics
    }
}
