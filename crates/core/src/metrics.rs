//! Metrics of the hub core. The metric names are a public interface: dashboards depend on them.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

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

/// Creates a metric and registers it in `registry`.
pub fn registered<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
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
    /// Event readers that a reader with an owner level disconnected.
    pub stolen_readers: Counter,
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
        Self {
            events: registered(registry, "ferrohub_events", "Events written to the event log, by source"),
            bytes: registered(registry, "ferrohub_event_bytes", "Bytes written to the event log"),
            readers: registered(registry, "ferrohub_event_readers", "Open event readers"),
            stolen_readers: registered(
                registry,
                "ferrohub_event_readers_stolen",
                "Event readers disconnected by a reader with an owner level",
            ),
            removed: registered(
                registry,
                "ferrohub_events_removed",
                "Events removed from the event log because they expired or the log was full",
            ),
            refused: registered(
                registry,
                "ferrohub_events_refused",
                "Telemetry messages rejected, by reason",
            ),
        }
    }
}

/// Metrics of queries.
#[derive(Debug, Clone)]
pub struct QueryMetrics {
    /// Pages of queries by outcome.
    pub pages: Outcomes,
    /// Duration of a page, from its request to its outcome, in seconds.
    seconds: Histogram,
    /// Pages that are read or wait.
    running: Gauge<i64, AtomicI64>,
}

impl QueryMetrics {
    fn register(registry: &mut Registry) -> Self {
        let seconds =
            Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        registry.register(
            "ferrohub_query_seconds",
            "Duration of pages of queries in seconds",
            seconds.clone(),
        );
        Self {
            pages: registered(registry, "ferrohub_queries", "Pages of queries by outcome"),
            seconds,
            running: registered(
                registry,
                "ferrohub_queries_running",
                "Pages of queries that are read or wait",
            ),
        }
    }

    /// Counts a page that begins. A page whose caller is cancelled is counted as `cancelled`.
    pub(crate) fn start(&self) -> QueryTimer<'_> {
        self.running.inc();
        QueryTimer { metrics: self, started: tokio::time::Instant::now(), outcome: "cancelled" }
    }
}

/// Metrics of configurations.
#[derive(Debug, Clone)]
pub struct ConfigurationMetrics {
    /// Configurations of the hub.
    pub count: Gauge<i64, AtomicI64>,
    /// Evaluations of devices by outcome.
    pub evaluations: Outcomes,
    /// Evaluations of all devices by outcome.
    pub sweeps: Outcomes,
    /// Devices that wait to be evaluated.
    pub waiting: Gauge<i64, AtomicI64>,
    /// Duration of an evaluation of some devices with its write, in seconds.
    pub seconds: Histogram,
}

impl ConfigurationMetrics {
    fn register(registry: &mut Registry) -> Self {
        let seconds =
            Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        registry.register(
            "ferrohub_configuration_evaluation_seconds",
            "Duration of evaluations of some devices with their write in seconds",
            seconds.clone(),
        );
        Self {
            count: registered(registry, "ferrohub_configurations", "Configurations of the hub"),
            evaluations: registered(
                registry,
                "ferrohub_configuration_evaluations",
                "Evaluations of devices by outcome",
            ),
            sweeps: registered(
                registry,
                "ferrohub_configuration_sweeps",
                "Evaluations of all devices by outcome",
            ),
            waiting: registered(
                registry,
                "ferrohub_configuration_devices_waiting",
                "Devices that wait to be evaluated",
            ),
            seconds,
        }
    }
}

/// Counts a page of a query when it ends.
#[derive(Debug)]
pub(crate) struct QueryTimer<'a> {
    metrics: &'a QueryMetrics,
    started: tokio::time::Instant,
    outcome: &'static str,
}

impl QueryTimer<'_> {
    /// Ends the page with an outcome.
    pub(crate) fn finish(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for QueryTimer<'_> {
    fn drop(&mut self) {
        self.metrics.running.dec();
        self.metrics.seconds.observe(self.started.elapsed().as_secs_f64());
        count(&self.metrics.pages, self.outcome);
    }
}

/// Metrics of jobs.
#[derive(Debug, Clone)]
pub struct JobMetrics {
    /// Jobs that were created, and that ended, by outcome.
    pub jobs: Outcomes,
    /// Devices of jobs whose part has ended, by outcome.
    pub devices: Outcomes,
    /// Jobs that this node runs.
    pub running: Gauge<i64, AtomicI64>,
}

impl JobMetrics {
    fn register(registry: &mut Registry) -> Self {
        Self {
            jobs: registered(registry, "ferrohub_jobs", "Jobs created and ended, by outcome"),
            devices: registered(
                registry,
                "ferrohub_job_devices",
                "Devices of jobs whose part has ended, by outcome",
            ),
            running: registered(registry, "ferrohub_jobs_running", "Jobs that this node runs"),
        }
    }

    pub(crate) fn count_job(&self, outcome: &'static str) {
        count(&self.jobs, outcome);
    }

    pub(crate) fn count_devices(&self, outcome: &'static str, devices: u64) {
        if devices > 0 {
            self.devices.get_or_create(&OutcomeLabel { outcome }).inc_by(devices);
        }
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
    /// Metrics of queries.
    pub queries: QueryMetrics,
    /// Metrics of configurations.
    pub configurations: ConfigurationMetrics,
    /// Metrics of jobs.
    pub jobs: JobMetrics,
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
    /// Import and export jobs by outcome.
    pub import_export_jobs: Outcomes,
    /// Identities in import and export jobs by outcome.
    pub import_export_items: Outcomes,
    /// Import and export jobs that run.
    pub import_export_running: Gauge<i64, AtomicI64>,
    /// Method calls in flight.
    pub calls_in_flight: Gauge<i64, AtomicI64>,
    /// Failures of background tasks, each of which was started again, by task.
    pub failed_tasks: Outcomes,
    /// Panics that ended one operation, request or connection, by place.
    pub panics: Outcomes,
    /// Metrics of the event log.
    pub events: EventMetrics,
}

impl Metrics {
    /// Creates the metrics and registers them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let events = EventMetrics::register(registry);
        let queries = QueryMetrics::register(registry);
        let configurations = ConfigurationMetrics::register(registry);
        let jobs = JobMetrics::register(registry);
        let method_calls = registered(registry, "ferrohub_method_calls", "Method calls by outcome");
        let method_call_seconds = Histogram::new([
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
            300.0,
        ]);
        registry.register(
            "ferrohub_method_call_seconds",
            "Duration of method calls in seconds",
            method_call_seconds.clone(),
        );
        Self {
            method_calls_answered: counter(&method_calls, "answered"),
            method_calls,
            unmatched_method_responses: registered(
                registry,
                "ferrohub_unmatched_method_responses",
                "Method responses without a pending call: late or unknown request id; retransmissions not counted",
            ),
            method_call_seconds,
            connections: registered(
                registry,
                "ferrohub_connections",
                "Open connections of devices and modules",
            ),
            connects: registered(registry, "ferrohub_connects", "Connects of devices and modules by outcome"),
            disconnects: registered(
                registry,
                "ferrohub_disconnects",
                "Disconnects of devices and modules by reason",
            ),
            unauthorized: registered(
                registry,
                "ferrohub_unauthorized",
                "Requests refused because of their credentials, by reason",
            ),
            twin_operations: registered(registry, "ferrohub_twin_operations", "Twin operations by kind"),
            queries,
            configurations,
            jobs,
            messages: registered(registry, "ferrohub_messages", "Cloud-to-device messages by outcome"),
            faults_active: registered(registry, "ferrohub_faults_active", "Active injected faults"),
            fault_hits: registered(registry, "ferrohub_fault_hits", "Hits of injected faults, by kind"),
            file_uploads: registered(registry, "ferrohub_file_uploads", "File uploads by outcome"),
            file_bytes: registered(
                registry,
                "ferrohub_file_bytes",
                "Bytes of files transferred through the hub, by direction",
            ),
            file_notifications: registered(
                registry,
                "ferrohub_file_notifications",
                "File notifications by outcome",
            ),
            import_export_jobs: registered(
                registry,
                "ferrohub_import_export_jobs",
                "Import and export jobs by outcome",
            ),
            import_export_items: registered(
                registry,
                "ferrohub_import_export_items",
                "Identities in import and export jobs by outcome",
            ),
            import_export_running: registered(
                registry,
                "ferrohub_import_export_running",
                "Import and export jobs that run",
            ),
            calls_in_flight: registered(registry, "ferrohub_calls_in_flight", "Method calls in flight"),
            failed_tasks: registered(
                registry,
                "ferrohub_failed_tasks",
                "Failures of background tasks, which the hub starts again, by task",
            ),
            panics: registered(
                registry,
                "ferrohub_panics",
                "Panics that ended one operation, request or connection, by place",
            ),
            events,
        }
    }
}
