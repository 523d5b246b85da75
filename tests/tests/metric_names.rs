//! The metrics of a running hub are those of the golden file, which `crates/ferrohub/tests/metric_names.rs` holds
//! complete.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::BTreeSet;

use ferrohub_acceptance::{Device, Hub, Service};

const GOLDEN: &str = include_str!("../golden/metrics.txt");

fn descriptions(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| line.starts_with("# HELP") || line.starts_with("# TYPE")).collect()
}

#[test]
fn the_metrics_of_a_running_hub_are_in_the_golden_file() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.connect().unwrap();

    let headers = format!("Host: {}\r\nAccept: application/openmetrics-text; version=1.0.0\r\n", hub.name());
    let text = hub.admin_request("/metrics", &headers);
    assert!(
        text.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{text}"
    );
    let (actual, golden) = (descriptions(&text), descriptions(GOLDEN));
    let unknown: Vec<_> = actual.difference(&golden).collect();
    assert!(unknown.is_empty(), "not in tests/golden/metrics.txt: {unknown:#?}");
    // A family of counters appears with its first count; every other metric is always present.
    let families = [
        "ferrohub_accept_failures",
        "ferrohub_amqp_operations",
        "ferrohub_configuration_evaluations",
        "ferrohub_configuration_sweeps",
        "ferrohub_disconnects",
        "ferrohub_event_log_failures",
        "ferrohub_events",
        "ferrohub_events_refused",
        "ferrohub_failed_tasks",
        "ferrohub_fault_hits",
        "ferrohub_file_bytes",
        "ferrohub_file_notifications",
        "ferrohub_file_uploads",
        "ferrohub_import_export_items",
        "ferrohub_import_export_jobs",
        "ferrohub_job_devices",
        "ferrohub_jobs",
        "ferrohub_log_lines_dropped",
        "ferrohub_messages",
        "ferrohub_panics",
        "ferrohub_queries",
        "ferrohub_refused_links",
        "ferrohub_rejected_sockets",
        "ferrohub_store_failures",
        "ferrohub_twin_operations",
        "ferrohub_unauthorized",
    ];
    let missing: Vec<_> = golden
        .difference(&actual)
        .filter(|line| line.split(' ').nth(2).is_none_or(|name| !families.contains(&name)))
        .collect();
    assert!(missing.is_empty(), "not in /metrics: {missing:#?}");
}
