//! `[jobs]`: jobs on many devices.
//!
//! The texts of the keys are in [`KEYS`](super::keys::KEYS), and so in `docs/configuration.md`.

use std::time::Duration;

use anyhow::bail;
use ferrohub_core::jobs::JobLimits;
use serde::{Deserialize, Serialize};

const SECONDS_PER_DAY: u64 = 24 * 3600;

/// `[jobs]`: jobs on many devices.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobsConfig {
    pub(crate) max_active: u64,
    pub(crate) max_devices: usize,
    pub(crate) max_devices_per_hub: usize,
    pub(crate) history_days: u64,
}

impl Default for JobsConfig {
    fn default() -> Self {
        let core = JobLimits::default();
        Self {
            max_active: core.active,
            max_devices: core.concurrent_devices,
            max_devices_per_hub: core.concurrent_devices_per_node,
            history_days: core.history.as_secs() / SECONDS_PER_DAY,
        }
    }
}

impl JobsConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (name, value, range) in [
            ("max_active", self.max_active, 1..=10_000),
            ("max_devices", self.max_devices as u64, 1..=4096),
            ("max_devices_per_hub", self.max_devices_per_hub as u64, 1..=65_536),
            ("history_days", self.history_days, 1..=3650),
        ] {
            if !range.contains(&value) {
                bail!("jobs.{name} must be {} to {}, not {value}", range.start(), range.end());
            }
        }
        Ok(())
    }

    /// Returns the limits of the hub.
    pub(crate) fn limits(&self) -> JobLimits {
        JobLimits {
            active: self.max_active,
            concurrent_devices: self.max_devices,
            concurrent_devices_per_node: self.max_devices_per_hub,
            history: Duration::from_secs(self.history_days.saturating_mul(SECONDS_PER_DAY)),
        }
    }
}
