//! Read-only connections for reads that take long. Each belongs to a thread of low priority, so that such a read gets only
//! the processor time that calls, writes and reads by key leave.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use ferrohub_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::failures::Failures;
use crate::readers::catch_panic;

/// How much less important than the other threads these are, as for `nice(2)`: one of them gets a tenth of the time of
/// another thread that also wants the processor. So a query makes progress on a busy machine.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Number of reads that wait for a connection. More wait for their turn to be queued.
const QUEUE_CAPACITY: usize = 64;

type Work = Box<dyn FnOnce(&Connection) + Send>;

/// A pool of read-only connections with a thread each.
#[derive(Debug)]
pub(crate) struct BackgroundReaders {
    /// What is to be read; `None` when closed.
    queue: Mutex<Option<Sender<Work>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    failures: Arc<Failures>,
}

impl BackgroundReaders {
    /// Starts the threads. They end after [`close`](Self::close), or when this is dropped.
    pub(crate) fn start(connections: Vec<Connection>, failures: Failures) -> io::Result<Self> {
        let (sender, receiver) = channel(QUEUE_CAPACITY);
        let receiver = Arc::new(Mutex::new(receiver));
        let spawn = |db: Connection| {
            let receiver = receiver.clone();
            thread::Builder::new().name("store-query".to_owned()).spawn(move || run(&db, &receiver))
        };
        let threads = connections.into_iter().map(spawn).collect::<io::Result<_>>()?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
            failures: Arc::new(failures),
        })
    }

    /// Runs `query` when a connection is free.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let failures = self.failures.clone();
        let work: Work = Box::new(move |db| {
            // The caller may have gone while it waited for its turn.
            if !reply.is_closed() {
                let _ = reply.send(catch_panic(&failures, || query(db)));
            }
        });
        let queue = lock(&self.queue).clone().ok_or(StoreError::Closed)?;
        queue.send(work).await.map_err(|_| StoreError::Closed)?;
        drop(queue);
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits for accepted reads and closes all connections.
    pub(crate) async fn close(&self) {
        drop(lock(&self.queue).take());
        let threads = mem::take(&mut *lock(&self.threads));
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

fn run(db: &Connection, queue: &Mutex<Receiver<Work>>) {
    // On other systems this would change the priority of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "queries run with the priority of calls: their priority cannot be lowered");
    }
    loop {
        // One thread waits for the queue, and the others wait for it.
        let next = lock(queue).blocking_recv();
        match next {
            Some(work) => work(db),
            None => return,
        }
    }
}

/// Ignores poisoning: nothing panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn readers(count: usize) -> BackgroundReaders {
        let connections = (0..count).map(|_| Connection::open_in_memory().unwrap()).collect();
        let failures = Failures::new("x.db".into(), ferrohub_core::metrics::Outcomes::default());
        BackgroundReaders::start(connections, failures).unwrap()
    }

    fn one(db: &Connection) -> rusqlite::Result<u32> {
        db.query_row("SELECT 1", [], |row| row.get(0))
    }

    #[tokio::test]
    async fn a_query_that_panics_is_answered_and_its_thread_goes_on() {
        let readers = readers(1);
        let panicking = |_: &Connection| -> rusqlite::Result<()> { panic!("bad row") };
        let text = readers.read(panicking).await.unwrap_err().to_string();
        assert!(text.contains("it panicked (bad row)"), "{text}");
        assert_eq!(readers.read(one).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn close_waits_for_running_reads_and_refuses_later_ones() {
        let readers = Arc::new(readers(2));
        let (started, is_started) = oneshot::channel();
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
        let running = tokio::spawn({
            let readers = readers.clone();
            async move {
                let wait = move |db: &Connection| {
                    let _ = started.send(());
                    let _ = ended.recv();
                    one(db)
                };
                readers.read(wait).await
            }
        });
        is_started.await.unwrap();
        assert_eq!(readers.read(one).await.unwrap(), 1, "the other connection is free");
        let mut close = std::pin::pin!(readers.close());
        assert!(close.as_mut().now_or_never().is_none());
        assert!(matches!(readers.read(one).await, Err(StoreError::Closed)));
        drop(end);
        close.await;
        assert_eq!(running.await.unwrap().unwrap(), 1);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_query_runs_with_low_priority_and_others_do_not() {
        let readers = readers(1);
        let of_query = readers.read(|_| Ok(rustix::process::nice(0).unwrap())).await.unwrap();
        let here = rustix::process::nice(0).unwrap();
        assert_eq!(of_query, (here + NICENESS).min(19));
    }
}
