//! Limits the log lines that peers can cause.
//!
//! A peer that is not authenticated must not be able to fill the disk with log lines. Lines about refused peers therefore
//! have a token bucket per event and reason. There is none per peer: then an attacker with many addresses could fill the
//! memory. Metrics count every event; only lines are suppressed. The next line of the same event and reason has the field
//! `suppressed` with their number. At the level `debug` every line is written.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines of one event and reason that may be written at once.
const BURST: u32 = 10;
/// After a burst, one line of an event and reason may be written in this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// Maximum length of a peer's text in a line, in bytes.
const MAX_EXCERPT: usize = 128;

static LIMIT: LogLimit = LogLimit::new(BURST, INTERVAL);

/// Token buckets for log lines, one per event and reason. Both are constants in the code, so their number is bounded.
#[derive(Debug)]
pub struct LogLimit {
    burst: u32,
    interval: Duration,
    buckets: Mutex<BTreeMap<(&'static str, &'static str), Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// Lines that may be written now.
    tokens: u32,
    /// Since when the next token grows.
    since: Instant,
    /// Lines that were suppressed since the last one that was written.
    suppressed: u64,
}

impl LogLimit {
    /// Creates a limit of `burst` lines at once and one more per `interval`, for each event and reason.
    #[must_use]
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, buckets: Mutex::new(BTreeMap::new()) }
    }

    /// Returns whether a line may be written at `now`; if so, also the number of lines that were suppressed since the last
    /// one, unless it is zero.
    #[must_use]
    pub fn admit(&self, event: &'static str, reason: &'static str, now: Instant) -> Option<Option<u64>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry((event, reason)).or_insert_with(|| Bucket {
            tokens: self.burst,
            since: now,
            suppressed: 0,
        });
        bucket.refill(self.burst, self.interval, now);
        let Some(tokens) = bucket.tokens.checked_sub(1) else {
            bucket.suppressed = bucket.suppressed.saturating_add(1);
            return None;
        };
        bucket.tokens = tokens;
        Some(Some(std::mem::take(&mut bucket.suppressed)).filter(|suppressed| *suppressed > 0))
    }
}

impl Bucket {
    fn refill(&mut self, burst: u32, interval: Duration, now: Instant) {
        // Each step adds one token, so there are at most `burst` of them.
        while self.tokens < burst && now.saturating_duration_since(self.since) >= interval {
            self.tokens += 1;
            self.since += interval;
        }
        // A full bucket does not save time for more.
        if self.tokens >= burst {
            self.since = now;
        }
    }
}

/// Returns whether a line of this event and reason may be written now, as [`LogLimit::admit`] does for the whole program.
#[must_use]
pub fn admit(event: &'static str, reason: &'static str) -> Option<Option<u64>> {
    LIMIT.admit(event, reason, Instant::now())
}

/// Returns at most the first 128 bytes of a text that a peer sent, for a log line. A line with the whole of it could be
/// long.
#[must_use]
pub fn excerpt(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_EXCERPT)).unwrap_or_default()
}

/// Writes a log line about a peer at the level `info` or `warn`, at most as often as the [limit](self) allows; otherwise
/// at `debug`.
///
/// The first arguments are the level, the event, which is the message of the line, and the reason, a fixed word. The
/// others are fields as in [`tracing::info!`].
#[macro_export]
macro_rules! log_limited {
    ($level:ident, $event:literal, $reason:expr, $($fields:tt)+) => {{
        let reason: &'static str = $reason;
        match $crate::log_limit::admit($event, reason) {
            Some(suppressed) => ::tracing::$level!(reason, $($fields)+, suppressed, $event),
            None => ::tracing::debug!(reason, $($fields)+, $event),
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Writes `lines` lines at `now` and returns how many were admitted.
    fn write(limit: &LogLimit, reason: &'static str, lines: u32, now: Instant) -> usize {
        (0..lines).filter(|_| limit.admit("refused", reason, now).is_some()).count()
    }

    #[test]
    fn a_burst_is_written_then_one_line_per_interval() {
        let (limit, start) = (LogLimit::new(3, SECOND * 10), Instant::now());
        assert_eq!(write(&limit, "expired", 100, start), 3);
        assert_eq!(write(&limit, "expired", 100, start + SECOND * 9), 0);
        assert_eq!(write(&limit, "expired", 100, start + SECOND * 10), 1);
        assert_eq!(write(&limit, "expired", 100, start + SECOND * 19), 0);
        // Many lines per second for an hour.
        let written: usize = (20..3620).map(|s| write(&limit, "expired", 50, start + SECOND * s)).sum();
        assert_eq!(written, 360);
    }

    #[test]
    fn the_next_line_has_the_number_of_suppressed_ones() {
        let (limit, start) = (LogLimit::new(1, SECOND), Instant::now());
        assert_eq!(limit.admit("refused", "a", start), Some(None));
        for _ in 0..7 {
            assert_eq!(limit.admit("refused", "a", start), None);
        }
        assert_eq!(limit.admit("refused", "a", start + SECOND), Some(Some(7)));
        assert_eq!(limit.admit("refused", "a", start + SECOND * 2), Some(None), "each is reported once");
    }

    #[test]
    fn reasons_and_events_do_not_share_a_limit() {
        let (limit, now) = (LogLimit::new(1, SECOND), Instant::now());
        assert_eq!(limit.admit("refused", "a", now), Some(None));
        assert_eq!(limit.admit("refused", "b", now), Some(None));
        assert_eq!(limit.admit("closed", "a", now), Some(None));
        assert_eq!(limit.admit("closed", "a", now), None);
    }

    #[test]
    fn a_quiet_time_fills_the_bucket_once() {
        let (limit, start) = (LogLimit::new(3, SECOND), Instant::now());
        assert_eq!(write(&limit, "a", 10, start), 3);
        assert_eq!(write(&limit, "a", 10, start + SECOND * 100_000), 3);
        assert_eq!(write(&limit, "a", 10, start + SECOND * 100_000), 0);
    }

    #[test]
    fn memory_depends_on_reasons_not_on_lines() {
        let (limit, now) = (LogLimit::new(3, SECOND), Instant::now());
        write(&limit, "a", 100_000, now);
        write(&limit, "b", 100_000, now);
        assert_eq!(limit.buckets.lock().unwrap().len(), 2);
    }

    #[test]
    fn an_excerpt_ends_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ü".repeat(100)), "ü".repeat(64));
        assert_eq!(excerpt(&format!("x{}", "ü".repeat(100))).len(), 127);
    }

    #[test]
    fn a_clock_that_goes_backwards_admits_no_more() {
        let (limit, start) = (LogLimit::new(1, SECOND), Instant::now() + SECOND * 100);
        assert_eq!(write(&limit, "a", 5, start), 1);
        assert_eq!(write(&limit, "a", 5, start - SECOND * 50), 0);
        assert_eq!(write(&limit, "a", 5, start + SECOND), 1);
    }
}
