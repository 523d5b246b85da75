//! The read-only connections. They see committed data and never wait for the writer.
//!
//! Reading a row by key takes microseconds if its page is in memory, which is less than waking another thread. Such a
//! read therefore runs inline, on the caller's thread. A slow inline read had to wait for the disk: after one, the next
//! reads run on blocking threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferrohub_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::failures::Failures;

/// An inline read that takes longer than this had to wait for the disk.
const SLOW_READ: Duration = Duration::from_millis(1);
/// Number of reads that run on blocking threads after a slow inline read.
const INLINE_COOLDOWN_READS: u32 = 1000;

/// A pool of read-only connections. Each is used by one read at a time.
#[derive(Debug)]
pub(crate) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Number of connections.
    count: usize,
    /// One permit per connection; closed when the store is closed.
    permits: Arc<Semaphore>,
    /// Remaining reads that run on blocking threads because an inline read was slow.
    inline_cooldown: AtomicU32,
    failures: Arc<Failures>,
}

impl Readers {
    pub(crate) fn new(connections: Vec<Connection>, failures: Failures) -> Self {
        let count = connections.len();
        let permits = Arc::new(Semaphore::new(count));
        Self {
            count,
            idle: Arc::new(Mutex::new(connections)),
            permits,
            inline_cooldown: AtomicU32::new(0),
            failures: Arc::new(failures),
        }
    }

    /// Runs a query that reads a few rows by key, inline unless a recent read was slow.
    #[expect(clippy::disallowed_methods, reason = "the duration of one read, on a thread")]
    pub(crate) async fn read_inline<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let decrement = |inline_cooldown: u32| inline_cooldown.checked_sub(1);
        if self.inline_cooldown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement).is_ok() {
            return self.read(query).await;
        }
        let _permit = self.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let started = Instant::now();
        let answer = run(&self.idle, &self.failures, query);
        if started.elapsed() > SLOW_READ {
            self.inline_cooldown.store(INLINE_COOLDOWN_READS, Ordering::Relaxed);
        }
        answer
    }

    /// Runs `query` on a blocking thread.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (idle, failures) = (self.idle.clone(), self.failures.clone());
        let task = tokio::task::spawn_blocking(move || {
            let answer = run(&idle, &failures, query);
            drop(permit);
            answer
        });
        task.await.unwrap_or_else(|error| Err(StoreError::Failed(Box::new(error))))
    }

    /// Waits for running reads and closes all connections.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        if let Ok(permits) = self.permits.acquire_many(all).await {
            self.permits.close();
            drop(permits);
        }
        lock(&self.idle).clear();
    }
}

/// Runs `query` on an idle connection, which is idle again afterwards, also if the query panics.
fn run<T>(
    idle: &Mutex<Vec<Connection>>,
    failures: &Failures,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let connection = lock(idle).pop().ok_or(StoreError::Closed)?;
    let answer = catch_panic(failures, || query(&connection));
    lock(idle).push(connection);
    answer
}

/// Runs `query`. Unwinding resets its statements, so the connection can be used again after a panic.
pub(crate) fn catch_panic<T>(
    failures: &Failures,
    query: impl FnOnce() -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(query)) {
        Ok(answer) => answer.map_err(|error| failures.store_error(error)),
        Err(panic) => Err(failures.panicked(&*panic)),
    }
}

/// Locks the list. Ignores poisoning: the list stays valid if a thread panics while it holds the lock.
fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_query_that_panics_is_answered_and_its_connection_stays_usable() {
        let metric = ferrohub_core::metrics::Outcomes::default();
        let failures = Failures::new("x.db".into(), metric.clone());
        let readers = Readers::new(vec![Connection::open_in_memory().unwrap()], failures);
        let panicking =
            |db: &Connection| db.query_row("SELECT 1", [], |_| -> rusqlite::Result<()> { panic!("bad row") });
        for error in [readers.read_inline(panicking).await, readers.read(panicking).await] {
            let text = error.unwrap_err().to_string();
            assert!(text.contains("it panicked (bad row)"), "{text}");
        }
        let one = |db: &Connection| db.query_row("SELECT 1", [], |row| row.get::<_, u32>(0));
        assert_eq!(readers.read_inline(one).await.unwrap(), 1);
        assert_eq!(readers.read(one).await.unwrap(), 1);
        assert_eq!(ferrohub_core::metrics::counter(&metric, "panicked").get(), 2);
    }
}
