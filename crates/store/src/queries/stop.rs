//! Stops a statement that takes too long, or whose caller is cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error, ErrorCode, Result};

/// Number of instructions of SQLite's virtual machine between two looks at the clock: less than a millisecond. As often,
/// other threads get the processor.
const INSTRUCTIONS: i32 = 4000;

/// Runs `work`. The statements in it fail with an error that [`is_stopped`] tells from others after `duration`, and soon
/// after `cancelled` is set.
#[expect(clippy::disallowed_methods, reason = "the duration of a statement, on a blocking thread")]
pub(super) fn run<T>(
    db: &Connection,
    duration: Duration,
    cancelled: Arc<AtomicBool>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    let must_stop = move || {
        // Otherwise a call that arrives on a busy processor waits until this thread's time slice ends: milliseconds.
        thread::yield_now();
        cancelled.load(Ordering::Relaxed) || started.elapsed() >= duration
    };
    db.progress_handler(INSTRUCTIONS, Some(must_stop))?;
    let reset = ResetOnDrop(db);
    let result = work();
    drop(reset);
    result
}

/// Removes the handler, also if the work panics.
struct ResetOnDrop<'a>(&'a Connection);

impl Drop for ResetOnDrop<'_> {
    fn drop(&mut self) {
        let _ = self.0.progress_handler(0, None::<fn() -> bool>);
    }
}

/// Returns whether the statement was stopped.
pub(super) fn is_stopped(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}
