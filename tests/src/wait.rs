//! Waiting for something to become true.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks every 20 ms until there is an answer.
///
/// # Panics
/// When `limit` has passed without one.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(20));
    }
}
