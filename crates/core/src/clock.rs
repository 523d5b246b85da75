//! The `Clock` port: what time it is, so that tests decide.

use ferrohub_model::Timestamp;

/// Wall-clock time. Durations and time-outs use tokio's clock, which tests can pause.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}
