//! The writer thread, which groups the writes of many callers into one commit.
//!
//! While a commit waits for the disk, writes queue up; the next transaction takes them all. A single write costs one
//! `fsync`, and many concurrent writes cost hardly more.

use std::thread;
use std::time::{Duration, Instant};

use ferrohub_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::error::store_error;
use crate::metrics::StoreMetrics;

/// Capacity of the queue of writes. If the queue is full, callers wait.
const QUEUE_CAPACITY: usize = 1024;

/// Most writes in one transaction, so that none waits long for the others.
const MAX_GROUP: usize = 512;

/// Number of writes in a commit from which the next commit is delayed (compare PostgreSQL's `commit_siblings`).
const COMMIT_SIBLINGS: usize = 8;

/// Longest delay of a commit: after a commit that took a second because of the disk, callers must not wait another half
/// second.
const MAX_COMMIT_DELAY: Duration = Duration::from_millis(5);

/// A write and the caller that waits for it.
trait Job: Send {
    /// Runs inside the group's transaction.
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()>;
    /// Answers the caller, after the transaction was committed or failed.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

enum Message {
    Write(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

struct Write<F, N, T> {
    work: Option<F>,
    outcome: Option<rusqlite::Result<T>>,
    on_commit: N,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, N, T> Job for Write<F, N, T>
where
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    N: FnOnce(&T) + Send,
    T: Send,
{
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        // A write that fails half-way must not commit its first half together with the other writes.
        db.prepare_cached("SAVEPOINT write")?.execute([])?;
        let outcome = work(db);
        if outcome.is_err() {
            db.prepare_cached("ROLLBACK TO write")?.execute([])?;
        }
        self.outcome = Some(outcome);
        db.prepare_cached("RELEASE write")?.execute([])?;
        Ok(())
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { outcome, on_commit, reply, .. } = *self;
        let answer = committed.and_then(|()| match outcome {
            Some(outcome) => outcome.map_err(store_error),
            None => Err(StoreError::Closed),
        });
        if let Ok(answer) = &answer {
            on_commit(answer);
        }
        // The caller may have been cancelled; the write is committed anyway.
        let _ = reply.send(answer);
    }
}

/// A handle to the writer thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the thread. It ends after [`Writer::close`], or when this is dropped.
    pub(crate) fn start(db: Connection, name: &str, metrics: StoreMetrics) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel(QUEUE_CAPACITY);
        thread::Builder::new().name(name.to_owned()).spawn(move || run(db, messages, &metrics))?;
        Ok(Self { queue })
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
        let write = Write { work: Some(work), outcome: None, on_commit, reply };
        self.queue.send(Message::Write(Box::new(write))).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Completes all accepted writes, checkpoints the WAL and closes the database.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

fn run(db: Connection, mut messages: mpsc::Receiver<Message>, metrics: &StoreMetrics) {
    let mut closing = Vec::new();
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
            commit(&db, &mut group, metrics);
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

/// Runs a group of writes in one transaction and answers them all.
fn commit(db: &Connection, group: &mut Vec<Box<dyn Job>>, metrics: &StoreMetrics) {
    let size = group.len();
    match transact(db, group) {
        Ok(()) => {
            metrics.commits.inc();
            metrics.writes.inc_by(size as u64);
            group.drain(..).for_each(|job| job.finish(Ok(())));
        }
        Err(error) => {
            error!(%error, writes = size, "transaction failed; none of its writes were persisted");
            if !db.is_autocommit()
                && let Err(error) = db.execute_batch("ROLLBACK")
            {
                error!(%error, "cannot roll back the failed transaction");
            }
            let text = error.to_string();
            group.drain(..).for_each(|job| job.finish(Err(StoreError::Failed(text.clone().into()))));
        }
    }
}

fn transact(db: &Connection, group: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for job in group {
        job.run(db)?;
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
}
