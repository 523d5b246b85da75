//! Metrics of the hub core. The metric names are a public interface: dashboards depend on them.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// A label `outcome`. Its values are constants in the code, never input, so their number is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// The outcome or reason.
    pub outcome: &'static str,
}

/// Counters by outcome.
pub type Outcomes = Family<OutcomeLabel, Counter>;

/// Increments the counter of `outcome`.
pub fn count(family: &Outcomes, outcome: &'static str) {
    family.get_or_create(&OutcomeLabel { outcome }).inc();
}

/// Returns the counter of `outcome`. Use it on hot paths, where [`count`] would look it up each time.
#[must_use]
pub fn counter(family: &Outcomes, outcome: &'static str) -> Counter {
    family.get_or_create(&OutcomeLabel { outcome }).clone()
}

/// Metrics of the log.
#[derive(Debug, Clone, Default)]
pub struct LogMetrics {
    /// Log lines that were not written, by reason.
    pub lines_dropped: Outcomes,
}

impl LogMetrics {
    /// Registers the metrics in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ferrohub_log_lines_dropped",
            "Log lines that were not written, by reason",
            self.lines_dropped.clone(),
        );
    }

    /// Counts lines whose write failed.
    pub fn record_write_failed(&self, lines: u64) {
        self.lines_dropped.get_or_create(&OutcomeLabel { outcome: "write_failed" }).inc_by(lines);
    }
}

/// A label `source`: the event source, named as in the event's system properties.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    /// The source's name, for example `Telemetry`.
    pub source: &'static str,
}

/// Metrics of the event log.
#[derive(Debug, Clone, Default)]
pub struct EventMetrics {
    /// Events written to the event log, by source.
    events: Family<SourceLabel, Counter>,
    /// Size of these events, in bytes.
    bytes: Counter,
    /// Open event readers.
    pub readers: Gauge<i64, AtomicI64>,
    /// Events removed by retention: they expired or the log was full.
    pub removed: Counter,
    /// Telemetry messages that were rejected, by reason. A rejected message ends its sender's connection.
    pub refused: Outcomes,
}

impl EventMetrics {
    /// Counts events of a source that were written to the event log.
    pub fn record_appended(&self, source: &'static str, count: u64, bytes: u64) {
        self.events.get_or_create(&SourceLabel { source }).inc_by(count);
        self.bytes.inc_by(bytes);
    }

    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "ferrohub_events",
            "Events written to the event log, by source",
            metrics.events.clone(),
        );
        registry.register("ferrohub_event_bytes", "Bytes written to the event log", metrics.bytes.clone());
        registry.register("ferrohub_event_readers", "Open event readers", metrics.readers.clone());
        registry.register(
            "ferrohub_events_removed",
            "Events removed from the event log because they expired or the log was full",
            metrics.removed.clone(),
        );
        registry.register(
            "ferrohub_events_refused",
            "Telemetry messages rejected, by reason",
            metrics.refused.clone(),
        );
        metrics
    }
}

/// All metrics of the hub core.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Method calls by outcome. Every call is counted exactly once.
    pub method_calls: Outcomes,
    /// The counter of [`method_calls`](Self::method_calls) with the outcome `answered`.
    pub method_calls_answered: Counter,
    /// Method responses without a pending call.
    pub unmatched_method_responses: Counter,
    /// Duration of method calls from acceptance to outcome, in seconds.
    pub method_call_seconds: Histogram,
    /// Open connections of devices and modules.
    pub connections: Gauge<i64, AtomicI64>,
    /// Connects by outcome.
    pub connects: Outcomes,
    /// Disconnects by reason.
    pub disconnects: Outcomes,
    /// Requests refused because of their credentials, by reason.
    pub unauthorized: Outcomes,
    /// Twin operations by kind.
    pub twin_operations: Outcomes,
    /// Cloud-to-device messages by outcome.
    pub messages: Outcomes,
    /// Active injected faults.
    pub faults_active: Gauge<i64, AtomicI64>,
    /// Hits of injected faults, by kind.
    pub fault_hits: Outcomes,
    /// File uploads by outcome.
    pub file_uploads: Outcomes,
    /// Bytes of files that the hub itself transfers, by direction.
    pub file_bytes: Outcomes,
    /// File notifications by outcome.
    pub file_notifications: Outcomes,
    /// Method calls in flight.
    pub calls_in_flight: Gauge<i64, AtomicI64>,
    /// Background tasks that ended because of a panic, by task.
    pub failed_tasks: Outcomes,
    /// Metrics of the event log.
    pub events: EventMetrics,
}

impl Metrics {
    /// Creates the metrics and registers them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let method_calls = Outcomes::default();
        let metrics = Self {
            method_calls_answered: counter(&method_calls, "answered"),
            method_calls,
            unmatched_method_responses: Counter::default(),
            method_call_seconds: Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
                60.0, 300.0,
            ]),
            connections: Gauge::default(),
            connects: Family::default(),
            disconnects: Family::default(),
            unauthorized: Family::default(),
            twin_operations: Family::default(),
            messages: Family::default(),
            faults_active: Gauge::default(),
            fault_hits: Family::default(),
            file_uploads: Family::default(),
            file_bytes: Family::default(),
            file_notifications: Family::default(),
            calls_in_flight: Gauge::default(),
            failed_tasks: Family::default(),
            events: EventMetrics::register(registry),
        };
        registry.register("ferrohub_method_calls", "Method calls by outcome", metrics.method_calls.clone());
        registry.register(
            "ferrohub_unmatched_method_responses",
            "Method responses without a pending call: late or unknown request id; retransmissions not counted",
            metrics.unmatched_method_responses.clone(),
        );
        registry.register(
            "ferrohub_method_call_seconds",
            "Duration of method calls in seconds",
            metrics.method_call_seconds.clone(),
        );
        registry.register(
            "ferrohub_connections",
            "Open connections of devices and modules",
            metrics.connections.clone(),
        );
        registry.register(
            "ferrohub_connects",
            "Connects of devices and modules by outcome",
            metrics.connects.clone(),
        );
        registry.register(
            "ferrohub_disconnects",
            "Disconnects of devices and modules by reason",
            metrics.disconnects.clone(),
        );
        registry.register(
            "ferrohub_unauthorized",
            "Requests refused because of their credentials, by reason",
            metrics.unauthorized.clone(),
        );
        registry.register(
            "ferrohub_twin_operations",
            "Twin operations by kind",
            metrics.twin_operations.clone(),
        );
        registry.register("ferrohub_faults_active", "Active injected faults", metrics.faults_active.clone());
        registry.register(
            "ferrohub_fault_hits",
            "Hits of injected faults, by kind",
            metrics.fault_hits.clone(),
        );
        registry.register(
            "ferrohub_messages",
            "Cloud-to-device messages by outcome",
            metrics.messages.clone(),
        );
        registry.register("ferrohub_file_uploads", "File uploads by outcome", metrics.file_uploads.clone());
        registry.register(
            "ferrohub_file_bytes",
            "Bytes of files transferred through the hub, by direction",
            metrics.file_bytes.clone(),
        );
        registry.register(
            "ferrohub_file_notifications",
            "File notifications by outcome",
            metrics.file_notifications.clone(),
        );
        registry.register(
            "ferrohub_calls_in_flight",
            "Method calls in flight",
            metrics.calls_in_flight.clone(),
        );
        registry.register(
            "ferrohub_failed_tasks",
            "Background tasks that ended because of a panic, by task",
            metrics.failed_tasks.clone(),
        );
        metrics
    }
}
