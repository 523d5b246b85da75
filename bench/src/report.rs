//! Results of the benchmark: as tables, as JSON, as charts.

pub(crate) mod chart;
pub(crate) mod table;

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// A metric of one server, measured several times.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// The row of the benchmark, such as `P1`.
    pub(crate) row: String,
    /// The metric, with its unit: `CPU per call, µs`.
    pub(crate) metric: String,
    /// The measured server.
    pub(crate) server: String,
    /// Number of registered or connected devices, in rows about growth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// One sample per round.
    pub(crate) samples: Vec<f64>,
}

impl Measurement {
    /// Returns the median of the samples.
    pub(crate) fn median(&self) -> f64 {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        let upper = samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN);
        let lower = samples.get(samples.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
        (lower + upper) / 2.0
    }

    /// Returns the smallest and the largest sample.
    pub(crate) fn range(&self) -> (f64, f64) {
        let fold = |start: f64, choose: fn(f64, f64) -> f64| self.samples.iter().copied().fold(start, choose);
        (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
    }
}

/// The results of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    /// Start of the run, in Unix seconds.
    pub(crate) begun: u64,
    /// Names and versions of the servers.
    pub(crate) servers: Vec<(String, String)>,
    /// Measurements that failed, with reasons.
    pub(crate) missing: Vec<String>,
    pub(crate) measurements: Vec<Measurement>,
}

impl Report {
    /// Adds one sample.
    pub(crate) fn add(&mut self, row: &str, metric: &str, server: &str, size: Option<u64>, sample: f64) {
        let same =
            |m: &&mut Measurement| m.row == row && m.metric == metric && m.server == server && m.size == size;
        match self.measurements.iter_mut().find(same) {
            Some(measurement) => measurement.samples.push(sample),
            None => self.measurements.push(Measurement {
                row: row.to_owned(),
                metric: metric.to_owned(),
                server: server.to_owned(),
                size,
                samples: vec![sample],
            }),
        }
    }

    /// Records a server and its version.
    pub(crate) fn add_server(&mut self, name: &str, version: &str) {
        if !self.servers.iter().any(|(known, _)| known == name) {
            self.servers.push((name.to_owned(), version.to_owned()));
        }
    }

    /// Records a measurement that failed.
    pub(crate) fn add_missing(&mut self, message: String) {
        eprintln!("missing: {message}");
        self.missing.push(message);
    }

    /// Reads the report of an earlier run.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", path.display()))
    }

    /// Writes the report as JSON. Rows of an existing report that were not measured now are kept.
    pub(crate) fn write(mut self, path: &Path) -> anyhow::Result<Self> {
        if let Ok(earlier) = Self::read(path) {
            let fresh: Vec<String> = self.measurements.iter().map(|m| m.row.clone()).collect();
            let kept = earlier.measurements.into_iter().filter(|m| !fresh.contains(&m.row));
            self.measurements.extend(kept);
            self.measurements.sort_by(|a, b| a.row.cmp(&b.row));
            for (name, version) in earlier.servers {
                self.add_server(&name, &version);
            }
        }
        std::fs::write(path, serde_json::to_vec_pretty(&self)?)?;
        Ok(self)
    }
}
