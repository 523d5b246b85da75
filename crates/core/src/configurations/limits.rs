//! Limits of configurations.

use std::time::Duration;

/// Limits of configurations.
#[derive(Debug, Clone)]
pub struct ConfigurationLimits {
    /// Maximum number of configurations.
    pub count: usize,
    /// Maximum size of a configuration, in bytes of JSON.
    pub bytes: usize,
    /// Maximum number of metrics of a configuration.
    pub metrics: usize,
    /// How often all devices are evaluated, beside what their changes cause.
    pub sweep_interval: Duration,
    /// Maximum number of devices that wait to be evaluated. If more devices change, all are evaluated instead.
    pub waiting_devices: usize,
}

impl Default for ConfigurationLimits {
    fn default() -> Self {
        Self {
            count: 100,
            bytes: 256 * 1024,
            metrics: 5,
            sweep_interval: Duration::from_secs(300),
            waiting_devices: 10_000,
        }
    }
}
