//! `[queries]`: queries on twins.

use anyhow::bail;
use ferrohub_core::queries::QueryLimits;
use ferrohub_store::{IndexedPath, StoreSettings};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// More indexes would make every write of a twin slow.
const MAX_INDEXED_PATHS: usize = 32;

/// `[queries]`: queries on twins.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueriesConfig {
    pub(crate) indexed_paths: Vec<String>,
    pub(crate) max_running: usize,
    pub(crate) max_waiting: usize,
    pub(crate) timeout_seconds: u64,
    pub(crate) page_bytes: usize,
    pub(crate) max_groups: usize,
}

impl Default for QueriesConfig {
    fn default() -> Self {
        let core = QueryLimits::default();
        Self {
            indexed_paths: Vec::new(),
            max_running: core.concurrent,
            max_waiting: core.waiting,
            timeout_seconds: core.duration.as_secs(),
            page_bytes: core.page_bytes,
            max_groups: core.groups,
        }
    }
}

impl QueriesConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (name, value, range) in [
            ("max_running", self.max_running as u64, 1..=64),
            ("max_waiting", self.max_waiting as u64, 0..=10_000),
            ("timeout_seconds", self.timeout_seconds, 1..=600),
            ("page_bytes", self.page_bytes as u64, 1024..=64 * 1024 * 1024),
            ("max_groups", self.max_groups as u64, 1..=1_000_000),
        ] {
            if !range.contains(&value) {
                bail!("queries.{name} must be {} to {}, not {value}", range.start(), range.end());
            }
        }
        if self.indexed_paths.len() > MAX_INDEXED_PATHS {
            bail!(
                "queries.indexed_paths has {} paths; at most {MAX_INDEXED_PATHS} are allowed",
                self.indexed_paths.len()
            );
        }
        self.parse_paths().map(drop)
    }

    fn parse_paths(&self) -> anyhow::Result<Vec<IndexedPath>> {
        let parse = |text: &String| match text.parse() {
            Ok(path) => Ok(path),
            Err(error) => bail!("queries.indexed_paths: {text:?}: {error}"),
        };
        self.indexed_paths.iter().map(parse).collect()
    }

    /// Returns the limits of the hub.
    pub(crate) fn limits(&self) -> QueryLimits {
        let duration = Duration::from_secs(self.timeout_seconds);
        QueryLimits {
            concurrent: self.max_running,
            waiting: self.max_waiting,
            duration,
            wait: duration,
            page_bytes: self.page_bytes,
            groups: self.max_groups,
            ..QueryLimits::default()
        }
    }

    /// Returns the settings of the store.
    ///
    /// # Errors
    /// If an indexed path is not valid.
    pub(crate) fn store_settings(&self) -> anyhow::Result<StoreSettings> {
        Ok(StoreSettings { query_readers: self.max_running, indexed_paths: self.parse_paths()? })
    }
}
