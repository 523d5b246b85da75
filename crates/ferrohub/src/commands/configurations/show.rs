//! Tables of configurations.

use std::collections::BTreeMap;

use ferrohub_service::{Configuration, ConfigurationContent};

use crate::output::{details, one_line, table};

/// A list of configurations.
pub(super) fn list(all: &[Configuration]) -> comfy_table::Table {
    let mut table = table(["ID", "PRIORITY", "TARGET", "TARGETED", "APPLIED"]);
    for configuration in all {
        table.add_row([
            configuration.id.clone(),
            priority(configuration),
            one_line(configuration.target_condition.as_deref().unwrap_or_default()),
            result(configuration, "targetedCount"),
            result(configuration, "appliedCount"),
        ]);
    }
    table
}

/// One configuration.
pub(super) fn configuration(configuration: &Configuration) -> comfy_table::Table {
    let time =
        |time: Option<ferrohub_service::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let labels = configuration.labels.clone().unwrap_or_default();
    let lines = |pairs: Vec<(String, String)>| {
        let lines: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.join("\n")
    };
    let rows = [
        ("ID", configuration.id.clone()),
        ("Priority", priority(configuration)),
        ("Target condition", configuration.target_condition.clone().unwrap_or_default()),
        ("Content", content(&configuration.content)),
        ("Labels", lines(labels.into_iter().collect())),
        ("Metrics", lines(results(configuration))),
        ("Created", time(configuration.created_time_utc)),
        ("Changed", time(configuration.last_updated_time_utc)),
        ("Etag", configuration.etag.clone().unwrap_or_default()),
    ];
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}

/// The metrics of a configuration.
pub(super) fn metrics(configuration: &Configuration) -> comfy_table::Table {
    let mut table = table(["METRIC", "ROWS", "QUERY"]);
    let queries = |queries: &BTreeMap<String, String>, results: &BTreeMap<String, i64>| {
        let row = |(name, query): (&String, &String)| {
            let rows = results.get(name).map(ToString::to_string).unwrap_or_default();
            [one_line(name), rows, one_line(query)]
        };
        queries.iter().map(row).collect::<Vec<_>>()
    };
    for metrics in [&configuration.system_metrics, &configuration.metrics] {
        table.add_rows(queries(&metrics.queries, &metrics.results));
    }
    table
}

fn priority(configuration: &Configuration) -> String {
    configuration.priority.unwrap_or_default().to_string()
}

fn result(configuration: &Configuration, metric: &str) -> String {
    configuration.system_metrics.results.get(metric).map(ToString::to_string).unwrap_or_default()
}

/// Returns the number of rows of each metric.
fn results(configuration: &Configuration) -> Vec<(String, String)> {
    let all = [&configuration.system_metrics, &configuration.metrics];
    let results = all.into_iter().flat_map(|metrics| &metrics.results);
    results.map(|(name, rows)| (name.clone(), rows.to_string())).collect()
}

fn content(content: &ConfigurationContent) -> String {
    serde_json::to_string_pretty(content).unwrap_or_default()
}
