//! The `Clock` port: the current time, which tests can set.

use ferrohub_model::Timestamp;

/// Wall-clock time. Durations and time-outs use tokio's clock, which tests can pause.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}
