//! The writer thread, which groups the writes of many callers into one commit.
//!
//! While a commit waits for the disk, writes queue up; the next transaction takes them all. A single write costs one
//! `fsync`, and many concurrent writes cost hardly more.

mod job;
mod probe;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ferrohub_core::panics::panic_message;
use ferrohub_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::failures::{Condition, Failure, Failures};
use crate::metrics::StoreMetrics;
use job::{Job, Write};
use probe::LastProbe;

/// Capacity of the queue of writes. If the queue is full, callers wait.
const QUEUE_CAPACITY: usize = 1024;

/// Most writes in one transaction, so that none waits long for the others.
const MAX_GROUP: usize = 512;

/// Number of writes in a commit from which the next commit is delayed (compare PostgreSQL's `commit_siblings`).
const COMMIT_SIBLINGS: usize = 8;

/// Longest delay of a commit: after a commit that took a second because of the disk, callers must not wait another half
/// second.
const MAX_COMMIT_DELAY: Duration = Duration::from_millis(5);

/// How often the same condition of failing transactions is logged.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(10);

enum Message {
    Write(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// A handle to the writer thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    last_probe: LastProbe,
    thread: Arc<ThreadState>,
}

/// The state of the writer thread.
#[derive(Debug)]
struct ThreadState {
    name: String,
    /// Why the thread ended without [`Writer::close`].
    panic: OnceLock<String>,
}

impl ThreadState {
    /// Returns the error of writes that the thread does not accept or answer any more.
    fn ended(&self) -> StoreError {
        match self.panic.get() {
            None => StoreError::Closed,
            Some(reason) => {
                let text = format!("the thread {} ended: {reason}; restart the hub", self.name);
                StoreError::Failed(text.into())
            }
        }
    }
}

impl Writer {
    /// Starts the thread. It ends after [`Writer::close`], or when this is dropped.
    pub(crate) fn start(
        db: Connection,
        name: &str,
        metrics: StoreMetrics,
        failures: Failures,
    ) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel(QUEUE_CAPACITY);
        let state = Arc::new(ThreadState { name: name.to_owned(), panic: OnceLock::new() });
        let thread = state.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Panics of writes are caught one by one, so this catches only a panic of the loop itself.
            let ended = catch_unwind(AssertUnwindSafe(|| run(db, messages, &metrics, &failures, &thread)));
            if let Err(panic) = ended {
                error!(
                    thread = thread.name,
                    "a writer thread ended; the hub is not ready until it is restarted"
                );
                let _ = thread.panic.set(panic_message(&*panic).to_owned());
            }
        })?;
        Ok(Self { queue, last_probe: LastProbe::default(), thread: state })
    }

    /// Runs `work` in a transaction and returns after the commit is on disk. If `work` fails, its changes are rolled
    /// back. Cancelling the caller does not cancel the write.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_with_callback(work, |_| {}).await
    }

    /// Like [`Writer::write`], and runs `on_commit` as soon as the write is on disk: in the order of the writes, and
    /// even if the caller was cancelled.
    pub(crate) async fn write_with_callback<T, F, N>(&self, work: F, on_commit: N) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        N: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Write::new(work, on_commit, reply));
        self.queue.send(Message::Write(write)).await.map_err(|_| self.thread.ended())?;
        answer.await.unwrap_or_else(|_| Err(self.thread.ended()))
    }

    /// Completes all accepted writes, checkpoints the WAL and closes the database.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own; the duration is only for metrics")]
fn run(
    db: Connection,
    mut messages: mpsc::Receiver<Message>,
    metrics: &StoreMetrics,
    failures: &Failures,
    thread: &ThreadState,
) {
    let mut closing = Vec::new();
    let mut report = FailureReport::default();
    let mut group = Vec::new();
    let mut last = Commit::default();
    while let Some(first) = messages.blocking_recv() {
        collect_group(first, &mut messages, &mut group, &mut closing);
        if let Some(delay) = last.commit_delay()
            && group.len() < MAX_GROUP
            && closing.is_empty()
        {
            thread::sleep(delay);
            if let Ok(message) = messages.try_recv() {
                collect_group(message, &mut messages, &mut group, &mut closing);
            }
        }
        if !group.is_empty() {
            let (writes, started) = (group.len(), Instant::now());
            match commit(&db, &mut group, metrics, failures) {
                Ok(()) => report.succeeded(&thread.name),
                Err(failure) => report.failed(&thread.name, writes, &failure),
            }
            last = Commit { writes, duration: started.elapsed() };
        }
    }
    if let Err(error) = db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        warn!(%error, "cannot checkpoint the WAL; the next start does it");
    }
    if let Err((_, error)) = db.close() {
        error!(%error, "cannot close the database");
    }
    for reply in closing {
        let _ = reply.send(());
    }
}

/// Adds `message` and the messages queued after it to the group.
fn collect_group(
    message: Message,
    messages: &mut mpsc::Receiver<Message>,
    group: &mut Vec<Box<dyn Job>>,
    closing: &mut Vec<oneshot::Sender<()>>,
) {
    let mut next = Some(message);
    while let Some(message) = next {
        match message {
            Message::Write(job) => group.push(job),
            Message::Close(reply) => {
                // Queued writes were accepted and are still written; new ones are refused.
                messages.close();
                closing.push(reply);
            }
        }
        next = if group.len() < MAX_GROUP { messages.try_recv().ok() } else { None };
    }
}

/// The number of writes in a commit, and its duration.
#[derive(Default)]
struct Commit {
    writes: usize,
    duration: Duration,
}

impl Commit {
    /// Returns how long to wait before the next commit begins; `None` after a commit of few writes. With many
    /// concurrent callers, those that were just answered are about to write again. A commit that waits for them costs
    /// no more than one with few writes, and there are fewer commits. The thread sleeps only once, because each wake-up
    /// has a cost.
    fn commit_delay(&self) -> Option<Duration> {
        (self.writes >= COMMIT_SIBLINGS).then_some((self.duration / 2).min(MAX_COMMIT_DELAY))
    }
}

/// Logs failing transactions: a new condition at once, the same one from time to time, and the recovery.
#[derive(Default)]
struct FailureReport(Option<(Condition, Instant)>);

impl FailureReport {
    #[expect(clippy::disallowed_methods, reason = "a thread of its own; limits log lines")]
    fn failed(&mut self, thread: &str, writes: usize, failure: &Failure) {
        let is_logged = self.0.is_some_and(|(condition, logged)| {
            condition == failure.condition && logged.elapsed() < FAILURE_LOG_INTERVAL
        });
        if !is_logged {
            let error = &failure.text;
            error!(thread, writes, error, "transaction failed; none of its writes were persisted");
            self.0 = Some((failure.condition, Instant::now()));
        }
    }

    fn succeeded(&mut self, thread: &str) {
        if self.0.take().is_some() {
            info!(thread, "transactions succeed again");
        }
    }
}

/// Runs a group of writes in one transaction and answers them all.
fn commit(
    db: &Connection,
    group: &mut Vec<Box<dyn Job>>,
    metrics: &StoreMetrics,
    failures: &Failures,
) -> Result<(), Failure> {
    match transact(db, group, failures) {
        Ok(()) => {
            metrics.commits.inc();
            metrics.writes.inc_by(group.len() as u64);
            group.drain(..).for_each(|job| job.finish(Ok(()), failures));
            Ok(())
        }
        Err(error) => {
            let failure = failures.record(&error);
            if !db.is_autocommit()
                && let Err(error) = db.execute_batch("ROLLBACK")
            {
                error!(%error, "cannot roll back the failed transaction");
            }
            group.drain(..).for_each(|job| job.finish(Err(failure.clone()), failures));
            Err(failure)
        }
    }
}

fn transact(db: &Connection, group: &mut [Box<dyn Job>], failures: &Failures) -> rusqlite::Result<()> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for job in group {
        job.run(db, failures)?;
    }
    db.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_delayed_after_many_writes_and_not_after_few() {
        let duration = Duration::from_millis(8);
        assert_eq!(Commit::default().commit_delay(), None);
        assert_eq!(Commit { writes: COMMIT_SIBLINGS - 1, duration }.commit_delay(), None);
        assert_eq!(
            Commit { writes: COMMIT_SIBLINGS, duration }.commit_delay(),
            Some(duration / 2),
            "half the duration of the last commit"
        );
        let stalled = Commit { writes: COMMIT_SIBLINGS, duration: Duration::from_secs(2) };
        assert_eq!(stalled.commit_delay(), Some(MAX_COMMIT_DELAY));
    }

    fn writer(metrics: &StoreMetrics) -> Writer {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        let failures = Failures::new("/data/x.db".into(), metrics.failures.clone());
        Writer::start(db, "test-writer", metrics.clone(), failures).unwrap()
    }

    fn insert(db: &Connection, number: u32) -> rusqlite::Result<usize> {
        db.execute("INSERT INTO t VALUES (?)", [number])
    }

    fn sum(db: &Connection) -> rusqlite::Result<u32> {
        db.query_row("SELECT sum(n) FROM t", [], |row| row.get(0))
    }

    #[tokio::test]
    async fn a_write_that_panics_is_undone_and_answered_and_other_writes_go_on() {
        let metrics = StoreMetrics::default();
        let writer = writer(&metrics);
        let panicking = writer.write(|db| -> rusqlite::Result<()> {
            insert(db, 100)?;
            panic!("no number {}", 100)
        });
        // They are queued together, so they share a transaction.
        let (before, failed, after) =
            tokio::join!(writer.write(|db| insert(db, 1)), panicking, writer.write(|db| insert(db, 2)));
        assert_eq!((before.unwrap(), after.unwrap()), (1, 1));
        let text = failed.unwrap_err().to_string();
        assert!(text.contains("it panicked (no number 100)"), "{text}");
        assert_eq!(writer.write(sum).await.unwrap(), 3);
        writer.probe().await.unwrap();
        assert_eq!(ferrohub_core::metrics::counter(&metrics.failures, "panicked").get(), 1);
    }

    #[tokio::test]
    async fn a_callback_that_panics_does_not_fail_its_write() {
        let writer = writer(&StoreMetrics::default());
        let written = writer.write_with_callback(|db| insert(db, 1), |_| panic!("callback")).await;
        assert_eq!(written.unwrap(), 1);
        assert_eq!(writer.write(sum).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn after_the_thread_ended_writes_name_it() {
        struct Panicking;
        impl Job for Panicking {
            fn run(&mut self, _: &Connection, _: &Failures) -> rusqlite::Result<()> {
                panic!("outside of a write")
            }
            fn finish(self: Box<Self>, _: Result<(), Failure>, _: &Failures) {}
        }
        let writer = writer(&StoreMetrics::default());
        assert!(writer.queue.send(Message::Write(Box::new(Panicking))).await.is_ok());
        writer.queue.closed().await;
        let expected = "the thread test-writer ended: outside of a write; restart the hub";
        while writer.thread.panic.get().is_none() {
            tokio::task::yield_now().await;
        }
        for error in [writer.write(sum).await.map(drop), writer.probe().await] {
            let text = error.unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
        writer.close().await;
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_writes_succeed_again_when_there_is_room() {
        let writer = writer(&StoreMetrics::default());
        let limit = |pages: u32| move |db: &Connection| db.pragma_update(None, "max_page_count", pages);
        writer.write(limit(3)).await.unwrap();
        let large = |db: &Connection| db.execute("INSERT INTO t VALUES (zeroblob(100000))", []);
        let error = writer.write(large).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull(_)), "{error}");
        assert!(error.to_string().starts_with("cannot write /data/x.db: the disk is full"), "{error}");
        writer.write(limit(1000)).await.unwrap();
        writer.write(large).await.unwrap();
    }
}
