//! Metrics of the store and the event log.

use std::sync::atomic::AtomicI64;

use ferrohub_core::metrics::{Outcomes, registered};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of one store or event log. Clones share the values.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics {
    /// Acknowledged writes.
    pub writes: Counter,
    /// Committed transactions. `writes / commits` is the average number of writes that share a commit.
    pub commits: Counter,
    /// Failed reads and writes, by reason. All writes of a failed transaction count once.
    pub failures: Outcomes,
    /// Messages in the queues of devices and modules.
    pub messages_waiting: Gauge<i64, AtomicI64>,
}

/// The gauge of the messages in all queues.
pub(crate) type MessagesWaiting = Gauge<i64, AtomicI64>;

impl StoreMetrics {
    /// Registers the metrics of the store: `ferrohub_store_writes_total`, `ferrohub_store_commits_total`,
    /// `ferrohub_store_failures_total` and `ferrohub_messages_waiting`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            writes: registered(registry, "ferrohub_store_writes", "Acknowledged durable writes"),
            commits: registered(
                registry,
                "ferrohub_store_commits",
                "Committed transactions; several writes share one",
            ),
            failures: registered(
                registry,
                "ferrohub_store_failures",
                "Failed reads and writes of the store, by reason",
            ),
            messages_waiting: registered(
                registry,
                "ferrohub_messages_waiting",
                "Messages in the queues of devices and modules",
            ),
        }
    }

    /// Registers the metrics of the event log: `ferrohub_event_log_writes_total`, `ferrohub_event_log_commits_total`
    /// and `ferrohub_event_log_failures_total`.
    #[must_use]
    pub fn register_for_events(registry: &mut Registry) -> Self {
        Self {
            writes: registered(
                registry,
                "ferrohub_event_log_writes",
                "Committed event batches and retention steps",
            ),
            commits: registered(
                registry,
                "ferrohub_event_log_commits",
                "Committed transactions of the event log; several batches share one",
            ),
            failures: registered(
                registry,
                "ferrohub_event_log_failures",
                "Failed reads and writes of the event log, by reason",
            ),
            messages_waiting: Gauge::default(),
        }
    }
}
