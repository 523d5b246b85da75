//! SVG charts of a report: bars for comparisons of servers, lines for growth.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::{Measurement, Report};

const WIDTH: f64 = 720.0;
const LABEL: f64 = 150.0;
const BAR: f64 = 22.0;
const FONT: &str = "font-family=\"system-ui, sans-serif\" font-size=\"13\"";
/// Legible on light and on dark pages.
const COLOURS: [&str; 6] = ["#d9480f", "#1971c2", "#2f9e44", "#9c36b5", "#868e96", "#e8590c"];
const INK: &str = "#868e96";

/// Writes one file per metric, named after row and metric. Returns the file names.
pub(crate) fn write_all(report: &Report, folder: &Path) -> anyhow::Result<Vec<String>> {
    std::fs::create_dir_all(folder)?;
    let keys: BTreeSet<(&str, &str)> =
        report.measurements.iter().map(|m| (m.row.as_str(), m.metric.as_str())).collect();
    let mut names = Vec::new();
    for (row, metric) in keys {
        let of_chart: Vec<&Measurement> =
            report.measurements.iter().filter(|m| m.row == row && m.metric == metric).collect();
        let has_sizes = of_chart.iter().any(|m| m.size.is_some());
        if of_chart.len() < 2 {
            continue;
        }
        let title = format!("{row}: {metric}");
        let svg = if has_sizes { lines(&title, &of_chart) } else { bars(&title, &of_chart) };
        let word: String =
            metric.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let words: Vec<&str> = word.split('-').filter(|word| !word.is_empty()).collect();
        let name = format!("{}-{}.svg", row.to_lowercase().replace(' ', "-"), words.join("-"));
        std::fs::write(folder.join(&name), svg)?;
        names.push(name);
    }
    Ok(names)
}

/// Draws horizontal bars of medians, with whiskers from the smallest to the largest sample.
fn bars(title: &str, measurements: &[&Measurement]) -> String {
    let top = measurements.iter().map(|m| m.range().1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let room = WIDTH - LABEL - 90.0;
    let height = 40.0 + measurements.len() as f64 * (BAR + 8.0) + 8.0;
    let mut svg = open(height, title);
    for (index, measurement) in measurements.iter().enumerate() {
        let y = 40.0 + index as f64 * (BAR + 8.0);
        let (low, high) = measurement.range();
        let at = |value: f64| LABEL + value / top * room;
        let colour = if measurement.server.starts_with("ferrohub") { COLOURS[0] } else { COLOURS[1] };
        let middle = y + BAR / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{INK}\" {FONT}>{}</text>\n\
             <rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"{INK}\" stroke-width=\"2\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{INK}\" {FONT}>{}</text>",
            LABEL - 8.0,
            middle + 5.0,
            escaped(&measurement.server),
            measurement.median() / top * room,
            at(low),
            at(high),
            at(high) + 8.0,
            middle + 5.0,
            short(measurement.median()),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Draws one line per server over the size, on a logarithmic axis.
fn lines(title: &str, measurements: &[&Measurement]) -> String {
    let (height, left, right, bottom) = (300.0, 70.0, WIDTH - 130.0, 260.0);
    let sizes: BTreeSet<u64> = measurements.iter().filter_map(|m| m.size).collect();
    let log = |size: u64| (size.max(1) as f64).log10();
    let (first, last) = (log(*sizes.first().unwrap_or(&1)), log(*sizes.last().unwrap_or(&10)));
    let top = measurements.iter().map(|m| m.median()).fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.1;
    let x = |size: u64| left + (log(size) - first) / (last - first).max(f64::MIN_POSITIVE) * (right - left);
    let y = |value: f64| bottom - value / top * (bottom - 40.0);
    let mut svg = open(height, title);
    let _ = writeln!(svg, "<path d=\"M{left} 40V{bottom}H{right}\" fill=\"none\" stroke=\"{INK}\"/>");
    for size in &sizes {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{INK}\" {FONT}>{size}</text>",
            x(*size),
            bottom + 20.0
        );
    }
    for part in [0.5, 1.0] {
        let value = top / 1.1 * part;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{INK}\" {FONT}>{}</text>",
            left - 6.0,
            y(value) + 4.0,
            short(value)
        );
    }
    let servers: BTreeSet<&str> = measurements.iter().map(|m| m.server.as_str()).collect();
    for (server, colour) in servers.iter().zip(COLOURS.iter().cycle()) {
        let mut points: Vec<(u64, f64)> = measurements
            .iter()
            .filter(|m| m.server == *server)
            .filter_map(|m| Some((m.size?, m.median())))
            .collect();
        points.sort_by_key(|(size, _)| *size);
        let path: Vec<String> =
            points.iter().map(|(size, v)| format!("{:.1} {:.1}", x(*size), y(*v))).collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>",
            path.join("L")
        );
        if let Some((size, value)) = points.last() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\" {FONT}>{}</text>",
                x(*size) + 8.0,
                y(*value) + 4.0,
                escaped(server)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn open(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>{0}</title>\n\
         <text x=\"8\" y=\"20\" fill=\"{INK}\" font-weight=\"bold\" {FONT}>{0}</text>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
