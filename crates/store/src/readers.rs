//! The connections that read. They see what is committed and wait for nobody.
//!
//! A row by its key is a matter of microseconds as long as its page is in memory, less than it takes to wake another
//! thread. So such a read runs where it is asked for, until one of them shows that the disk is slow.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferrohub_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::error::store_error;

/// A read by key that takes longer than this waited for the disk.
const SLOW_READ: Duration = Duration::from_millis(1);
/// So many reads after a slow one wait on threads of their own.
const INLINE_COOLDOWN_READS: u32 = 1000;

/// A few read-only connections, each used by one read at a time.
#[derive(Debug)]
pub(crate) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// As many permits as connections; closed when the store is.
    permits: Arc<Semaphore>,
    /// Reads by key that still go to other threads because one was slow.
    inline_cooldown: AtomicU32,
}

impl Readers {
    pub(crate) fn new(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Mutex::new(connections)), permits, inline_cooldown: AtomicU32::new(0) }
    }

    /// Runs a query that finds a row or two by key.
    pub(crate) async fn read_inline<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let fewer = |inline_cooldown: u32| inline_cooldown.checked_sub(1);
        if self.inline_cooldown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            return self.read(query).await;
        }
        let _permit = self.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let connection = lock(&self.idle).pop().ok_or(StoreError::Closed)?;
        let begun = Instant::now();
        let answer = query(&connection).map_err(store_error);
        if begun.elapsed() > SLOW_READ {
            self.inline_cooldown.store(INLINE_COOLDOWN_READS, Ordering::Relaxed);
        }
        lock(&self.idle).push(connection);
        answer
    }

    /// Runs `query` on a thread that may wait for the disk.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = self.idle.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = lock(&idle).pop().ok_or(StoreError::Closed)?;
            let answer = query(&connection).map_err(store_error);
            lock(&idle).push(connection);
            drop(permit);
            answer
        });
        task.await.unwrap_or_else(|error| Err(StoreError::Failed(Box::new(error))))
    }

    /// Waits for the reads that run, and closes the connections.
    pub(crate) async fn close(&self, count: usize) {
        let all = u32::try_from(count).unwrap_or(u32::MAX);
        if let Ok(permits) = self.permits.acquire_many(all).await {
            self.permits.close();
            drop(permits);
        }
        lock(&self.idle).clear();
    }
}

/// A list of connections is whole even if a holder of the lock panicked.
fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
