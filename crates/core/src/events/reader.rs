//! Reading the log: from anywhere to its end, and on as it grows.

use std::sync::Arc;

use ferrohub_model::message::Event;
use futures_util::future::select_all;
use tokio::sync::watch;

use super::groups::Seat;
use super::log::EventLog;
use super::position::Position;
use crate::store::StoreError;

/// How much a reader takes from the log at once, in bytes of bodies and properties; a single larger event comes alone.
const READ_BYTES: usize = 256 * 1024;

/// Why a reader has nothing more to say.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
    /// The log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A place in the log that goes forward. It holds no events; a reader that is not asked costs nothing.
pub struct EventReader {
    log: Arc<dyn EventLog>,
    cursors: Vec<Cursor>,
    /// Whose turn it is: no partition keeps the others waiting.
    turn: usize,
    stopping: watch::Receiver<bool>,
    /// Its place among the readers of its group.
    _seat: Seat,
}

/// How far it is in one partition.
pub(super) struct Cursor {
    pub(super) partition: u16,
    /// The sequence number of what comes next.
    pub(super) next: u64,
    pub(super) head: watch::Receiver<u64>,
}

impl EventReader {
    pub(super) fn new(
        log: Arc<dyn EventLog>,
        cursors: Vec<Cursor>,
        stopping: watch::Receiver<bool>,
        seat: Seat,
    ) -> Self {
        Self { log, cursors, turn: 0, stopping, _seat: seat }
    }

    /// How far it has come.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.cursors.iter().map(|cursor| (cursor.partition, cursor.next)).collect())
    }

    /// The next events, at most `most` and all of one partition; waits until there is one. May be dropped before it is
    /// done: nothing is skipped then.
    ///
    /// # Errors
    /// [`ReadError`]; there will be nothing more then.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Event>, ReadError> {
        loop {
            let events = self.read(most).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.grown().await?;
        }
    }

    /// The next events, at most `most` and all of one partition, or none if it is at the end of the log.
    ///
    /// # Errors
    /// [`ReadError`]; there will be nothing more then.
    pub async fn read(&mut self, most: usize) -> Result<Vec<Event>, ReadError> {
        if *self.stopping.borrow() {
            return Err(ReadError::Stopping);
        }
        let count = self.cursors.len();
        for turn in (self.turn..).take(count) {
            let Some(cursor) = self.cursors.get_mut(turn % count) else { continue };
            let end = *cursor.head.borrow_and_update();
            if cursor.next >= end {
                continue;
            }
            let stored = self.log.read(cursor.partition, cursor.next, most, READ_BYTES).await?;
            // If nothing is there, all up to the end was trimmed.
            cursor.next = stored.last().map_or(end, |last| last.sequence + 1);
            if !stored.is_empty() {
                self.turn = (turn + 1) % count;
                let partition = cursor.partition;
                return Ok(stored.into_iter().map(|event| event.present(partition)).collect());
            }
        }
        Ok(Vec::new())
    }

    /// Waits until the log has more than [`EventReader::read`] saw.
    async fn grown(&mut self) -> Result<(), ReadError> {
        let heads = self.cursors.iter_mut().map(|cursor| Box::pin(cursor.head.changed()));
        tokio::select! {
            (changed, ..) = select_all(heads) => changed.map_err(|_| ReadError::Stopping),
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(ReadError::Stopping),
        }
    }
}
