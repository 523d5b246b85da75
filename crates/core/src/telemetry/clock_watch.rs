//! Notices a clock that is behind the event log. The clock was set back, or it had jumped ahead for a while.
//!
//! The enqueued times of a partition never decrease, so its new events get the time of its last event until the clock
//! has reached that time.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ferrohub_model::Timestamp;
use tracing::warn;

/// A clock that is behind by less is corrected by time synchronization and has no effect that matters.
const TOLERANCE_MILLIS: i64 = 60_000;

/// The newest time in the event log, and whether the warning was logged.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    newest: AtomicI64,
    is_behind: AtomicBool,
}

impl Default for ClockWatch {
    fn default() -> Self {
        Self { newest: AtomicI64::new(i64::MIN), is_behind: AtomicBool::new(false) }
    }
}

impl ClockWatch {
    /// Records the time of an event that was stored earlier.
    pub(crate) fn record_stored(&self, enqueued: Timestamp) {
        self.newest.fetch_max(enqueued.unix_millis(), Ordering::Relaxed);
    }

    /// Checks the time of a new event, and logs one warning when the clock is behind the log.
    pub(crate) fn check(&self, now: Timestamp) {
        if let Some(newest) = self.newly_behind(now) {
            warn!(
                %now, %newest,
                "the clock is behind the newest event: it was set back, or it had jumped ahead. New events of a \
                 partition get the enqueued time of its last event until the clock has reached that time; reading \
                 from a time cannot separate them, and retention keeps them longer. Check the time synchronization \
                 of this machine"
            );
        }
    }

    /// Returns the newest time if the clock has fallen behind it since the last call.
    fn newly_behind(&self, now: Timestamp) -> Option<Timestamp> {
        let millis = now.unix_millis();
        let newest = self.newest.fetch_max(millis, Ordering::Relaxed);
        let is_behind = millis < newest.saturating_sub(TOLERANCE_MILLIS);
        // Usually nothing has changed, and nothing is written.
        if self.is_behind.load(Ordering::Relaxed) == is_behind {
            return None;
        }
        let was_behind = self.is_behind.swap(is_behind, Ordering::Relaxed);
        (is_behind && !was_behind).then(|| Timestamp::from_unix_millis(newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_log_is_reported_once_until_it_has_caught_up() {
        let at = Timestamp::from_unix_seconds;
        let watch = ClockWatch::default();
        assert_eq!(watch.newly_behind(at(1000)), None);
        assert_eq!(watch.newly_behind(at(941)), None, "within the tolerance");
        watch.record_stored(at(5000));
        assert_eq!(watch.newly_behind(at(1001)), Some(at(5000)));
        assert_eq!(watch.newly_behind(at(1002)), None);
        assert_eq!(watch.newly_behind(at(5001)), None);
        assert_eq!(watch.newly_behind(at(1003)), Some(at(5001)));
    }
}
