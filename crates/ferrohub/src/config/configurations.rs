//! `[configurations]`: configurations (automatic device management).

use std::time::Duration;

use anyhow::bail;
use ferrohub_core::configurations::ConfigurationLimits;
use serde::{Deserialize, Serialize};

/// `[configurations]`: configurations (automatic device management).
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigurationsConfig {
    pub(crate) max_count: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_metrics: usize,
    pub(crate) sweep_seconds: u64,
    pub(crate) max_waiting_devices: usize,
}

impl Default for ConfigurationsConfig {
    fn default() -> Self {
        let core = ConfigurationLimits::default();
        Self {
            max_count: core.count,
            max_bytes: core.bytes,
            max_metrics: core.metrics,
            sweep_seconds: core.sweep_interval.as_secs(),
            max_waiting_devices: core.waiting_devices,
        }
    }
}

impl ConfigurationsConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (name, value, range) in [
            ("max_count", self.max_count as u64, 0..=1000),
            ("max_bytes", self.max_bytes as u64, 1024..=4 * 1024 * 1024),
            ("max_metrics", self.max_metrics as u64, 0..=20),
            ("sweep_seconds", self.sweep_seconds, 10..=86_400),
            ("max_waiting_devices", self.max_waiting_devices as u64, 1..=1_000_000),
        ] {
            if !range.contains(&value) {
                bail!("configurations.{name} must be {} to {}, not {value}", range.start(), range.end());
            }
        }
        Ok(())
    }

    /// Returns the limits of the hub.
    pub(crate) fn limits(&self) -> ConfigurationLimits {
        ConfigurationLimits {
            count: self.max_count,
            bytes: self.max_bytes,
            metrics: self.max_metrics,
            sweep_interval: Duration::from_secs(self.sweep_seconds),
            waiting_devices: self.max_waiting_devices,
        }
    }
}
