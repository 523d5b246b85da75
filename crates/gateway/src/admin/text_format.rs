//! Converts metrics from OpenMetrics to the Prometheus text format 0.0.4, for clients that do not ask for OpenMetrics.

use std::fmt::Write as _;

/// Converts the OpenMetrics text of `prometheus-client`. In the text format the description of a counter has the name
/// of its samples, with `_total`, and there is no `# EOF`.
pub(super) fn from_openmetrics(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(described, _)| *described == name) {
                let _ = writeln!(text, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_name_of_their_samples() {
        let openmetrics = "# HELP a Help of a.\n# TYPE a counter\na_total{outcome=\"x # y\"} 1\n\
                           # HELP b Help.\n# TYPE b gauge\n# UNIT b seconds\nb 2\n\
                           # HELP c Help.\n# TYPE c histogram\nc_sum 1.0\nc_count 1\nc_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let expected = "# HELP a_total Help of a.\n# TYPE a_total counter\na_total{outcome=\"x # y\"} 1\n\
                        # HELP b Help.\n# TYPE b gauge\nb 2\n\
                        # HELP c Help.\n# TYPE c histogram\nc_sum 1.0\nc_count 1\nc_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(from_openmetrics(openmetrics), expected);
    }
}
