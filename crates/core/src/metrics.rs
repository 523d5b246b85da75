//! What the hub counts. The names are a contract: dashboards hang on them.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::events::EventSource;

/// One label, whose values are fixed words of the code, never text from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// How or why.
    pub outcome: &'static str,
}

/// Counters by one label.
pub type Outcomes = Family<OutcomeLabel, Counter>;

/// Adds one to the counter of `outcome`.
pub fn count(family: &Outcomes, outcome: &'static str) {
    family.get_or_create(&OutcomeLabel { outcome }).inc();
}

/// The counter of `outcome`, for those who count often.
#[must_use]
pub fn counter(family: &Outcomes, outcome: &'static str) -> Counter {
    family.get_or_create(&OutcomeLabel { outcome }).clone()
}

/// Where an event comes from: a name that its readers know as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    /// Such as `Telemetry`.
    pub source: &'static str,
}

/// What the event log counts.
#[derive(Debug, Clone, Default)]
pub struct EventMetrics {
    /// Events that are on disk, by where they come from.
    events: Family<SourceLabel, Counter>,
    /// What they take.
    bytes: Counter,
    /// Readers now.
    pub readers: Gauge<i64, AtomicI64>,
    /// Events that were removed because they were old or the log was full.
    pub removed: Counter,
    /// Messages that ended their sender's connection, by what was wrong.
    pub refused: Outcomes,
}

impl EventMetrics {
    /// Events were taken.
    pub fn record_appended(&self, source: EventSource, count: u64, bytes: u64) {
        self.events.get_or_create(&SourceLabel { source: source.name() }).inc_by(count);
        self.bytes.inc_by(bytes);
    }

    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("ferrohub_events", "Events taken, by source", metrics.events.clone());
        registry.register("ferrohub_event_bytes", "What they take in the log", metrics.bytes.clone());
        registry.register("ferrohub_event_readers", "Readers of events now", metrics.readers.clone());
        registry.register(
            "ferrohub_events_removed",
            "Events removed because they were old or the log was full",
            metrics.removed.clone(),
        );
        registry.register(
            "ferrohub_events_refused",
            "Messages of devices that were refused, by reason",
            metrics.refused.clone(),
        );
        metrics
    }
}

/// All metrics of the hub's rules.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Method calls by how they ended; every call is counted exactly once.
    pub method_calls: Outcomes,
    /// Those among them that were answered.
    pub method_calls_answered: Counter,
    /// Answers from devices to a call that was not (or no longer) waiting.
    pub unmatched_method_responses: Counter,
    /// From accepting a call to its end, in seconds.
    pub method_call_seconds: Histogram,
    /// Connections that devices hold now.
    pub connections: Gauge<i64, AtomicI64>,
    /// Connects by how they ended.
    pub connects: Outcomes,
    /// Disconnects by reason.
    pub disconnects: Outcomes,
    /// Service requests refused, by reason.
    pub unauthorized: Outcomes,
    /// Operations on twins, by what was done.
    pub twin_operations: Outcomes,
    /// Messages to devices, by what became of them.
    pub messages: Outcomes,
    /// Injected faults now.
    pub faults_active: Gauge<i64, AtomicI64>,
    /// How often injected faults came true, by kind.
    pub fault_hits: Outcomes,
    /// Uploads of files by what became of them.
    pub file_uploads: Outcomes,
    /// Bytes of files through the hub itself, by direction.
    pub file_bytes: Outcomes,
    /// Notifications of files, by what became of them.
    pub file_notifications: Outcomes,
    /// Calls in flight now.
    pub calls_in_flight: Gauge<i64, AtomicI64>,
    /// Of the event log.
    pub events: EventMetrics,
}

impl Metrics {
    /// Makes the metrics and enters them in `registry`.
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
            events: EventMetrics::register(registry),
        };
        registry.register(
            "ferrohub_method_calls",
            "Method calls by how they ended",
            metrics.method_calls.clone(),
        );
        registry.register(
            "ferrohub_unmatched_method_responses",
            "Answers to calls that were not waiting: late or foreign, retransmissions not counted",
            metrics.unmatched_method_responses.clone(),
        );
        registry.register(
            "ferrohub_method_call_seconds",
            "From accepting a method call to its end",
            metrics.method_call_seconds.clone(),
        );
        registry.register(
            "ferrohub_connections",
            "Connections that devices hold now",
            metrics.connections.clone(),
        );
        registry.register("ferrohub_connects", "Device connects by how they ended", metrics.connects.clone());
        registry.register(
            "ferrohub_disconnects",
            "Device disconnects by reason",
            metrics.disconnects.clone(),
        );
        registry.register(
            "ferrohub_unauthorized",
            "Service requests refused, by reason",
            metrics.unauthorized.clone(),
        );
        registry.register(
            "ferrohub_twin_operations",
            "Operations on twins by what was done",
            metrics.twin_operations.clone(),
        );
        registry.register("ferrohub_faults_active", "Injected faults now", metrics.faults_active.clone());
        registry.register(
            "ferrohub_fault_hits",
            "How often injected faults came true, by kind",
            metrics.fault_hits.clone(),
        );
        registry.register(
            "ferrohub_messages",
            "Messages to devices by what became of them",
            metrics.messages.clone(),
        );
        registry.register(
            "ferrohub_file_uploads",
            "Uploads of files by what became of them",
            metrics.file_uploads.clone(),
        );
        registry.register(
            "ferrohub_file_bytes",
            "Bytes of files through the hub, by direction",
            metrics.file_bytes.clone(),
        );
        registry.register(
            "ferrohub_file_notifications",
            "Notifications of files by what became of them",
            metrics.file_notifications.clone(),
        );
        registry.register(
            "ferrohub_calls_in_flight",
            "Method calls in flight now",
            metrics.calls_in_flight.clone(),
        );
        metrics
    }
}
