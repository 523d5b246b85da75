//! A wall clock that follows tokio's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ferrohub_core::clock::Clock;
use ferrohub_model::Timestamp;
use tokio::time::Instant;

/// Wall-clock time that passes as tokio's time does. A test that pauses tokio's time moves both together. Clones show the same
/// time.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    start: Timestamp,
    since: Instant,
    /// How far it was set forward, in milliseconds.
    adjustment: Arc<AtomicI64>,
}

impl VirtualClock {
    /// Creates a clock that shows `start` now.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, since: Instant::now(), adjustment: Arc::default() }
    }

    /// Sets the clock forward by milliseconds, or back if they are negative. Tokio's time stays as it is.
    pub fn adjust(&self, millis: i64) {
        self.adjustment.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start.plus_millis(passed).plus_millis(self.adjustment.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_paused_time() {
        let start = Timestamp::from_unix_seconds(1_800_000_000);
        let clock = VirtualClock::starting_at(start);
        assert_eq!(clock.now(), start);
        tokio::time::sleep(Duration::from_secs(48 * 3600)).await;
        assert_eq!(clock.now(), start.plus_millis(48 * 3600 * 1000));
        clock.clone().adjust(-48 * 3600 * 1000);
        assert_eq!(clock.now(), start);
    }
}
