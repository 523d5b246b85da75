//! Waits for a condition.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Calls `poll` every 20 ms until it returns a value.
///
/// # Panics
/// If `limit` elapses first.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(20));
    }
}
