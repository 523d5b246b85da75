//! Readers of the log: from a start position to the end, then events as they are appended.

use std::sync::Arc;

use ferrohub_model::Timestamp;
use futures_util::future::select_all;
use tokio::sync::watch;

use super::StoredEvent;
use super::consumer_groups::{ReaderSlot, Stolen};
use super::log::EventLog;
use super::position::Position;
use crate::store::StoreError;

/// Maximum size of one read, in bytes of bodies and properties. A larger event is read alone.
const READ_BYTES: usize = 256 * 1024;

/// Why a reader ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
    /// Another reader of the consumer group has taken over.
    #[error(transparent)]
    Stolen(#[from] Stolen),
    /// The event log returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A cursor over one or all partitions that only moves forward. It buffers no events; an idle reader does no work.
pub struct EventReader {
    log: Arc<dyn EventLog>,
    cursors: Vec<Cursor>,
    /// Index of the cursor to read next. Round-robin, so that one busy partition does not starve the others.
    next_cursor: usize,
    stopping: watch::Receiver<bool>,
    /// The reader slot in its consumer group, released on drop.
    slot: ReaderSlot,
}

/// The read position in one partition.
pub(super) struct Cursor {
    pub(super) partition: u16,
    /// The sequence number of the next event to read.
    pub(super) next: u64,
    /// Watches the partition's head: the sequence number that its next event will get. An append increases it.
    pub(super) head: watch::Receiver<u64>,
}

impl EventReader {
    pub(super) fn new(
        log: Arc<dyn EventLog>,
        cursors: Vec<Cursor>,
        stopping: watch::Receiver<bool>,
        slot: ReaderSlot,
    ) -> Self {
        Self { log, cursors, next_cursor: 0, stopping, slot }
    }

    /// Returns the current read position.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.cursors.iter().map(|cursor| (cursor.partition, cursor.next)).collect())
    }

    /// Returns the next events: at most `max_events`, all of one partition. Waits until there is at least one. Cancel
    /// safe: if the future is dropped, no event is skipped.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the hub is stopping, another reader has taken over, or the log fails; the reader is then
    /// finished.
    pub async fn next(&mut self, max_events: usize) -> Result<Vec<StoredEvent>, ReadError> {
        loop {
            let events = self.read(max_events).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.wait().await?;
        }
    }

    /// Returns the next events: at most `max_events`, all of one partition. Returns none at the end of the log.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the hub is stopping, another reader has taken over, or the log fails; the reader is then
    /// finished.
    pub async fn read(&mut self, max_events: usize) -> Result<Vec<StoredEvent>, ReadError> {
        self.read_bytes(max_events, READ_BYTES).await
    }

    /// Returns the next events as [`EventReader::read`], but only until their bodies and properties have `max_bytes`.
    ///
    /// # Errors
    /// As [`EventReader::read`].
    pub async fn read_bytes(
        &mut self,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.check_not_ended()?;
        let count = self.cursors.len();
        for index in (self.next_cursor..).take(count) {
            let Some(cursor) = self.cursors.get_mut(index % count) else { continue };
            // The end for this read: the head as it is now. Events that are appended from here on change the head
            // again, and `wait` then returns at once.
            let end = *cursor.head.borrow_and_update();
            if cursor.next >= end {
                continue;
            }
            let stored = self.log.read(cursor.partition, cursor.next, max_events, max_bytes).await?;
            if let Some(stolen) = self.slot.stolen() {
                return Err(stolen.into());
            }
            // An empty result means that retention removed every event up to the end.
            cursor.next = stored.last().map_or(end, |last| last.sequence + 1);
            if !stored.is_empty() {
                self.next_cursor = (index + 1) % count;
                return Ok(stored);
            }
        }
        Ok(Vec::new())
    }

    /// Waits until the reader ends although it did not fail: the hub is stopping, or another reader has taken over. For
    /// heads whose client accepts no events at the moment. Cancel safe.
    pub async fn ended(&mut self) -> ReadError {
        tokio::select! {
            stolen = self.slot.wait_stolen() => stolen.into(),
            _ = self.stopping.wait_for(|stopping| *stopping) => ReadError::Stopping,
        }
    }

    /// Returns sequence number and time of the last event in the partition, if it is a reader of one and there ever was an
    /// event.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the log fails.
    pub async fn last_enqueued(&self) -> Result<Option<(u64, Timestamp)>, ReadError> {
        let [Cursor { partition, .. }] = self.cursors.as_slice() else { return Ok(None) };
        let states = self.log.state().await?;
        let state = states.get(usize::from(*partition));
        Ok(state.and_then(|state| Some((state.last?, state.last_enqueued?))))
    }

    fn check_not_ended(&self) -> Result<(), ReadError> {
        if *self.stopping.borrow() {
            return Err(ReadError::Stopping);
        }
        self.slot.stolen().map_or(Ok(()), |stolen| Err(stolen.into()))
    }

    /// Waits until events are appended after the last [`EventReader::read`]. Cancel safe.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the hub is stopping or another reader has taken over; the reader is then finished.
    pub async fn wait(&mut self) -> Result<(), ReadError> {
        let heads = self.cursors.iter_mut().map(|cursor| Box::pin(cursor.head.changed()));
        tokio::select! {
            (changed, ..) = select_all(heads) => changed.map_err(|_| ReadError::Stopping),
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(ReadError::Stopping),
            stolen = self.slot.wait_stolen() => Err(stolen.into()),
        }
    }
}
