//! A queued write: runs in a savepoint, and answers its caller after the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ferrohub_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;
use tracing::error;

use crate::failures::{Failure, Failures};

/// A write and the caller that waits for it.
pub(super) trait Job: Send {
    /// Runs inside the group's transaction. If the write fails or panics, only its own changes are rolled back. An
    /// error of this function fails the whole transaction.
    fn run(&mut self, db: &Connection, failures: &Failures) -> rusqlite::Result<()>;
    /// Answers the caller, after the transaction was committed or failed.
    fn finish(self: Box<Self>, committed: Result<(), Failure>, failures: &Failures);
}

pub(super) struct Write<F, N, T> {
    work: Option<F>,
    outcome: Option<Result<T, WriteError>>,
    on_commit: N,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

enum WriteError {
    Sqlite(rusqlite::Error),
    Panicked(StoreError),
}

impl<F, N, T> Write<F, N, T> {
    pub(super) fn new(work: F, on_commit: N, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work: Some(work), outcome: None, on_commit, reply }
    }
}

impl<F, N, T> Job for Write<F, N, T>
where
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    N: FnOnce(&T) + Send,
    T: Send,
{
    fn run(&mut self, db: &Connection, failures: &Failures) -> rusqlite::Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        // A write that fails half-way must not commit its first half together with the other writes.
        db.prepare_cached("SAVEPOINT write")?.execute([])?;
        let outcome = match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(outcome) => outcome.map_err(WriteError::Sqlite),
            Err(panic) => Err(WriteError::Panicked(failures.panicked(&*panic))),
        };
        if let Err(error) = outcome {
            let rolled_back = db.prepare_cached("ROLLBACK TO write").and_then(|mut undo| undo.execute([]));
            if let Err(rollback) = rolled_back {
                // After an error such as a full disk, SQLite has already rolled back the whole transaction.
                return Err(match error {
                    WriteError::Sqlite(cause) => cause,
                    WriteError::Panicked(_) => rollback,
                });
            }
            self.outcome = Some(Err(error));
        } else {
            self.outcome = Some(outcome);
        }
        db.prepare_cached("RELEASE write")?.execute([])?;
        Ok(())
    }

    fn finish(self: Box<Self>, committed: Result<(), Failure>, failures: &Failures) {
        let Self { outcome, on_commit, reply, .. } = *self;
        let answer = match (committed, outcome) {
            (Err(failure), _) => Err(failure.into()),
            (Ok(()), Some(Ok(answer))) => Ok(answer),
            (Ok(()), Some(Err(WriteError::Sqlite(error)))) => Err(failures.store_error(error)),
            (Ok(()), Some(Err(WriteError::Panicked(error)))) => Err(error),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // The write is on disk even if the callback panics.
        if let Ok(answer) = &answer
            && catch_unwind(AssertUnwindSafe(|| on_commit(answer))).is_err()
        {
            error!("the callback of a committed write panicked");
        }
        // The caller may have been cancelled; the write is committed anyway.
        let _ = reply.send(answer);
    }
}
