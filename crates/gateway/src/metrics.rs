//! Metrics of the gateway.

use std::sync::atomic::AtomicI64;

use ferrohub_core::metrics::{Outcomes, counter};
use prometheus_client::metrics::counter::Counter;
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
    /// HTTP requests by status class.
    pub requests: Requests,
}

/// HTTP requests by status class; the counters are cached, so that counting needs no lookup.
#[derive(Debug, Clone)]
pub struct Requests {
    family: Outcomes,
    classes: [Counter; 5],
}

impl Default for Requests {
    fn default() -> Self {
        let family = Outcomes::default();
        let class = |name| counter(&family, name);
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class);
        Self { family, classes }
    }
}

impl Requests {
    /// Increments the counter of this status's class.
    pub fn count(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if let Some(counter) = self.classes.get(class) {
            counter.inc();
        }
    }
}

impl GatewayMetrics {
    /// Creates the metrics and registers them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("ferrohub_sockets", "Open sockets", metrics.sockets.clone());
        registry.register(
            "ferrohub_rejected_sockets",
            "Sockets closed before authentication, by reason",
            metrics.rejected.clone(),
        );
        registry.register(
            "ferrohub_accept_failures",
            "Connections that a listener could not accept, by reason",
            metrics.accept_failures.clone(),
        );
        registry.register(
            "ferrohub_http_requests",
            "HTTP requests by status class",
            metrics.requests.family.clone(),
        );
        metrics
    }
}
