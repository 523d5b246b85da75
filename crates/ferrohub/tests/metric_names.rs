//! Holds the complete list of metrics as a golden file: their names, types and help texts are a public interface.
//!
//! If a change of a metric is intended, run this test with `UPDATE_GOLDEN=1` to rewrite the file, and add the change to
//! `CHANGELOG.md`. The acceptance test of the same name compares the file with `/metrics` of a running hub.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::path::Path;

use ferrohub_core::metrics::{LogMetrics, Metrics, count};
use ferrohub_core::telemetry::EventSource;
use ferrohub_gateway::{GatewayMetrics, SystemMetrics};
use ferrohub_store::StoreMetrics;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/metrics.txt");

/// Returns the `# HELP` and `# TYPE` lines of all metrics, sorted by metric.
fn metric_descriptions() -> String {
    let mut registry = Registry::default();
    let store = StoreMetrics::register(&mut registry);
    let event_log = StoreMetrics::register_for_events(&mut registry);
    let log = LogMetrics::default();
    log.register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let gateway = GatewayMetrics::register(&mut registry);
    let _ = SystemMetrics::register(&mut registry, "0.0.0", Path::new("data"));
    // A family without a counter is not encoded.
    for family in [
        &store.failures,
        &event_log.failures,
        &log.lines_dropped,
        &metrics.failed_tasks,
        &metrics.panics,
        &metrics.method_calls,
        &metrics.connects,
        &metrics.disconnects,
        &metrics.unauthorized,
        &metrics.twin_operations,
        &metrics.queries.pages,
        &metrics.configurations.evaluations,
        &metrics.configurations.sweeps,
        &metrics.jobs.jobs,
        &metrics.jobs.devices,
        &metrics.import_export_jobs,
        &metrics.import_export_items,
        &metrics.messages,
        &metrics.fault_hits,
        &metrics.file_uploads,
        &metrics.file_bytes,
        &metrics.file_notifications,
        &metrics.events.refused,
        &gateway.rejected,
        &gateway.accept_failures,
        &gateway.refused_links,
    ] {
        count(family, "any");
    }
    gateway.requests.count(None, 200);
    gateway.amqp_operations.count(None, 200);
    metrics.events.record_appended(EventSource::Telemetry.name(), 1, 1);

    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let mut descriptions: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("# HELP") {
            descriptions.push(vec![line]);
        } else if line.starts_with("# TYPE") {
            descriptions.last_mut().expect("a metric begins with its help").push(line);
        }
    }
    let registered = format!("{registry:?}").matches("Descriptor {").count();
    assert_eq!(descriptions.len(), registered, "a family has no counter: add it to the list above");
    descriptions.sort_unstable();
    descriptions.concat().join("\n") + "\n"
}

#[test]
fn names_types_and_help_texts_of_all_metrics_match_the_golden_file() {
    let actual = metric_descriptions();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(GOLDEN).expect("the golden file");
    assert_eq!(actual, expected, "a metric has changed; see the module documentation of this test");
}
