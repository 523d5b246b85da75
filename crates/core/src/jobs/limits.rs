//! Limits of jobs.

use std::time::Duration;

/// Limits of jobs.
#[derive(Debug, Clone)]
pub struct JobLimits {
    /// Maximum number of jobs that have not ended, those that start later included.
    pub active: u64,
    /// Maximum number of devices on which one job works at the same time.
    pub concurrent_devices: usize,
    /// Maximum number of devices on which all jobs of a node work at the same time.
    pub concurrent_devices_per_node: usize,
    /// How long a job and its rows are kept after its end.
    pub history: Duration,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            active: 100,
            concurrent_devices: 64,
            concurrent_devices_per_node: 256,
            history: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
