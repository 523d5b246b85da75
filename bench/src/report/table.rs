//! Tables in Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Measurement, Report};

/// Returns one table per row of the benchmark.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    let rows: BTreeSet<&str> = report.measurements.iter().map(|m| m.row.as_str()).collect();
    for row in rows {
        let of_row: Vec<&Measurement> = report.measurements.iter().filter(|m| m.row == row).collect();
        let _ = writeln!(text, "\n## {row}\n");
        if of_row.iter().any(|m| m.size.is_some()) {
            by_size(&mut text, &of_row)
        } else {
            flat(&mut text, &of_row)
        }
    }
    for missing in &report.missing {
        let _ = writeln!(text, "\nMissing: {missing}");
    }
    text
}

/// Writes a table with a line per server and a column per metric, with ratios to the figures of the hub.
fn flat(text: &mut String, measurements: &[&Measurement]) {
    let mut metrics: Vec<&str> = Vec::new();
    let mut servers: Vec<&str> = Vec::new();
    for measurement in measurements {
        if !metrics.contains(&measurement.metric.as_str()) {
            metrics.push(&measurement.metric);
        }
        if !servers.contains(&measurement.server.as_str()) {
            servers.push(&measurement.server);
        }
    }
    let find =
        |server: &str, metric: &str| measurements.iter().find(|m| m.server == server && m.metric == metric);
    let _ = writeln!(text, "| | {} |", metrics.join(" | "));
    let _ = writeln!(text, "|---|{}", "--:|".repeat(metrics.len()));
    for server in servers {
        let _ = write!(text, "| {server} ");
        for metric in &metrics {
            let _ = match find(server, metric) {
                None => write!(text, "| – "),
                Some(measurement) => {
                    let ratio = find("ferrohub", metric)
                        .filter(|_| server != "ferrohub")
                        .map(|own| format!(", ×{:.2}", measurement.median() / own.median()));
                    write!(text, "| {}{} ", figure(measurement), ratio.unwrap_or_default())
                }
            };
        }
        text.push_str("|\n");
    }
}

/// Writes a table with a line per size, and a column per server and metric.
fn by_size(text: &mut String, measurements: &[&Measurement]) {
    let sizes: BTreeSet<u64> = measurements.iter().filter_map(|m| m.size).collect();
    let mut columns: Vec<(&str, &str)> = Vec::new();
    for measurement in measurements {
        let column = (measurement.server.as_str(), measurement.metric.as_str());
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let names: Vec<String> = columns.iter().map(|(server, metric)| format!("{server}: {metric}")).collect();
    let _ = writeln!(text, "| | {} |", names.join(" | "));
    let _ = writeln!(text, "|--:|{}", "--:|".repeat(columns.len()));
    for size in sizes {
        let _ = write!(text, "| {size} ");
        for (server, metric) in &columns {
            let found = measurements
                .iter()
                .find(|m| m.server == *server && m.metric == *metric && m.size == Some(size));
            let _ = write!(text, "| {} ", found.map_or_else(|| "–".to_owned(), |m| figure(m)));
        }
        text.push_str("|\n");
    }
}

/// Formats the median and the range of the samples.
fn figure(measurement: &Measurement) -> String {
    let (low, high) = measurement.range();
    if measurement.samples.len() < 2 {
        return number(measurement.median());
    }
    format!("**{}** ({} to {})", number(measurement.median()), number(low), number(high))
}

/// Formats a number with about three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
