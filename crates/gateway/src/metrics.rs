//! Metrics of the gateway.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};

use ferrohub_core::Operation;
use ferrohub_core::metrics::{Outcomes, registered};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All metrics of the gateway.
#[derive(Debug, Clone, Default)]
pub struct GatewayMetrics {
    /// Open sockets.
    pub sockets: Gauge<i64, AtomicI64>,
    /// Sockets closed before authentication, by reason.
    pub rejected: Outcomes,
    /// Connections that a listener could not accept, by reason.
    pub accept_failures: Outcomes,
    /// HTTP requests by operation and status class.
    pub requests: Requests,
    /// Operations of AMQP clients, by operation and class of the status that the same result has over HTTPS.
    pub amqp_operations: Requests,
    /// AMQP links that were refused, by reason.
    pub refused_links: Outcomes,
    /// Events sent to AMQP clients.
    pub amqp_events: Counter,
}

/// The labels of a counter of requests. All values are constants in the code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The name of the operation; `other` for health and for requests that are no operation of the hub.
    operation: &'static str,
    /// The class of the status, such as `2xx`.
    outcome: &'static str,
}

/// The classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Requests by operation and status class. A counter is looked up once, when its first request is counted.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    family: Family<RequestLabels, Counter>,
    counters: Arc<RequestCounters>,
}

#[derive(Debug)]
struct RequestCounters {
    /// By operation, in the order of the table of operations.
    operations: [[OnceLock<Counter>; CLASSES.len()]; Operation::ALL.len()],
    other: [OnceLock<Counter>; CLASSES.len()],
}

impl Default for RequestCounters {
    fn default() -> Self {
        Self {
            operations: [const { [const { OnceLock::new() }; CLASSES.len()] }; Operation::ALL.len()],
            other: [const { OnceLock::new() }; CLASSES.len()],
        }
    }
}

impl Requests {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        Self { family: registered(registry, name, help), counters: Arc::default() }
    }

    /// Counts a request. `operation` is `None` if it is no operation of the hub.
    pub fn count(&self, operation: Option<Operation>, status: u16) {
        let RequestCounters { operations, other } = &*self.counters;
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let counters = operation.and_then(|operation| operations.get(operation as usize)).unwrap_or(other);
        let (Some(counter), Some(outcome)) = (counters.get(class), CLASSES.get(class)) else { return };
        let create = || {
            let operation = operation.map_or("other", Operation::name);
            self.family.get_or_create(&RequestLabels { operation, outcome }).clone()
        };
        counter.get_or_init(create).inc();
    }
}

impl GatewayMetrics {
    /// Creates the metrics and registers them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            sockets: registered(registry, "ferrohub_sockets", "Open sockets"),
            rejected: registered(
                registry,
                "ferrohub_rejected_sockets",
                "Sockets closed before authentication, by reason",
            ),
            accept_failures: registered(
                registry,
                "ferrohub_accept_failures",
                "Connections that a listener could not accept, by reason",
            ),
            requests: Requests::register(
                registry,
                "ferrohub_http_requests",
                "HTTP requests by operation and status class",
            ),
            amqp_operations: Requests::register(
                registry,
                "ferrohub_amqp_operations",
                "Operations of AMQP clients by operation and status class",
            ),
            refused_links: registered(
                registry,
                "ferrohub_refused_links",
                "AMQP links that were refused, by reason",
            ),
            amqp_events: registered(registry, "ferrohub_amqp_events", "Events sent to AMQP clients"),
        }
    }
}
