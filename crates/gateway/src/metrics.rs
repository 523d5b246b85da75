//! What the gateway counts.

use std::sync::atomic::AtomicI64;

use ferrohub_core::metrics::Outcomes;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All metrics of the gateway.
#[derive(Debug, Clone, Default)]
pub struct GatewayMetrics {
    /// Sockets that are open now.
    pub sockets: Gauge<i64, AtomicI64>,
    /// Sockets that ended before a peer was known, by reason.
    pub rejected: Outcomes,
    /// HTTP requests by status class.
    pub requests: Outcomes,
}

impl GatewayMetrics {
    /// Makes the metrics and enters them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("ferrohub_sockets", "Sockets open now", metrics.sockets.clone());
        registry.register(
            "ferrohub_rejected_sockets",
            "Sockets that ended before a peer was known",
            metrics.rejected.clone(),
        );
        registry.register(
            "ferrohub_http_requests",
            "HTTP requests by class of status",
            metrics.requests.clone(),
        );
        metrics
    }
}
