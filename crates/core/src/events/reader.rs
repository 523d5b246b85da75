//! Reading the log: from anywhere to its end, and on as it grows.

use std::sync::Arc;

use ferrohub_model::message::Event;
use futures_util::future::select_all;
use tokio::sync::watch;

use super::consumer_groups::ReaderSlot;
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
    next_cursor: usize,
    stopping: watch::Receiver<bool>,
    /// Its place among the readers of its group.
    _slot: ReaderSlot,
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
        slot: ReaderSlot,
    ) -> Self {
        Self { log, cursors, next_cursor: 0, stopping, _slot: slot }
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
            self.wait_for_append().await?;
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
        for index in (self.next_cursor..).take(count) {
            let Some(cursor) = self.cursors.get_mut(index % count) else { continue };
            let end = *cursor.head.borrow_and_update();
            if cursor.next >= end {
                continue;
            }
            let stored = self.log.read(cursor.partition, cursor.next, most, READ_BYTES).await?;
            // If nothing is there, all up to the end was trimmed.
            cursor.next = stored.last().map_or(end, |last| last.sequence + 1);
            if !stored.is_empty() {
                self.next_cursor = (index + 1) % count;
                let partition = cursor.partition;
                return Ok(stored.into_iter().map(|event| event.into_event(partition)).collect());
            }
        }
        Ok(Vec::new())
    }

    /// Waits until the log has more than [`EventReader::read`] saw.
    async fn wait_for_append(&mut self) -> Result<(), ReadError> {
        let heads = self.cursors.iter_mut().map(|cursor| Box::pin(cursor.head.changed()));
        tokio::select! {
            (changed, ..) = select_all(heads) => changed.map_err(|_| ReadError::Stopping),
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(ReadError::Stopping),
        }
    }
}
