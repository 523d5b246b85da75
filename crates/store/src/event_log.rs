//! The event log: a separate database with its own writer, so that heavy telemetry does not delay registry writes, and
//! registry writes do not delay telemetry.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ferrohub_core::store::StoreError;
use ferrohub_core::telemetry::{Batch, EventLog, LostEvents, PartitionState, StoredEvent};
use ferrohub_model::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;
use tracing::warn;

use crate::data_folder::DataFolder;
use crate::database::{Database, EVENTS_DATABASE};
use crate::failures::Failures;
use crate::metrics::StoreMetrics;
use crate::readers::Readers;
use crate::writer::Writer;
use crate::{OpenError, SqliteStore, instance, statements};

/// Number of read-only connections.
const READERS: usize = 4;

/// WAL pages that trigger a checkpoint (16 MiB). More than SQLite's default, because events arrive continuously and
/// each checkpoint costs an extra `fsync`.
const CHECKPOINT_PAGES: u32 = 4096;

/// Allowed numbers of partitions, as in Azure.
const PARTITION_RANGE: std::ops::RangeInclusive<u16> = 2..=32;

/// The event log of a hub: `events.db` in its data folder.
#[derive(Debug)]
pub struct SqliteEventLog {
    writer: Writer,
    readers: Readers,
    /// The sequence number of the next event of each partition.
    heads: Arc<[watch::Sender<u64>]>,
    /// What it lost when it was restored from backups.
    lost: Vec<LostEvents>,
    /// Keeps the data folder locked until the log is closed.
    folder: Mutex<Option<Arc<DataFolder>>>,
}

impl SqliteEventLog {
    /// Opens the log in the data folder of `store`, and creates it with this number of partitions if it does not exist.
    ///
    /// # Errors
    /// [`OpenError::Partitions`] if the log has another number of partitions: a change would break the order of a
    /// device's events. [`OpenError::Foreign`] if it is the log of another hub. [`OpenError::Closed`] if `store` is closed.
    pub fn open(store: &SqliteStore, partitions: u16, metrics: StoreMetrics) -> Result<Self, OpenError> {
        let folder = store.folder().ok_or(OpenError::Closed)?;
        let database = Database::new(folder.path(), &EVENTS_DATABASE);
        let is_new = database.is_new();
        let mut connection = database.open_for_writing()?;
        instance::check_events(&connection, &database, store.instance())?;
        if is_new && !store.is_new() {
            warn!(
                file = %database.file().display(),
                "the event log is new, but the store is not: earlier events are missing, and sequence numbers begin \
                 at 0 again"
            );
        }
        let failed = |source| database.open_error(source);
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(failed)?;
        create_partitions(&mut connection, &database, partitions)?;
        let states = statements::partition_states(&connection).map_err(failed)?;
        let lost = statements::lost_events(&connection).map_err(failed)?;
        let readers = database.open_readers(READERS)?;
        let failures = Failures::new(database.file(), metrics.failures.clone());
        let writer = Writer::start(connection, "event-writer", metrics, failures.clone())
            .map_err(|source| OpenError::Folder { folder: folder.path().to_path_buf(), source })?;
        Ok(Self {
            writer,
            readers: Readers::new(readers, failures),
            lost,
            heads: states.iter().map(|state| watch::Sender::new(state.next)).collect(),
            folder: Mutex::new(Some(folder)),
        })
    }
}

fn create_partitions(
    connection: &mut Connection,
    database: &Database<'_>,
    wanted: u16,
) -> Result<(), OpenError> {
    let failed = |source| database.open_error(source);
    let found = statements::partition_count(connection).map_err(failed)?;
    if found == wanted && found != 0 {
        return Ok(());
    }
    if found != 0 || !PARTITION_RANGE.contains(&wanted) {
        return Err(OpenError::Partitions { file: database.file(), found, wanted });
    }
    let transaction = connection.transaction().map_err(failed)?;
    statements::create_partitions(&transaction, wanted).map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[async_trait]
impl EventLog for SqliteEventLog {
    fn partitions(&self) -> u16 {
        u16::try_from(self.heads.len()).unwrap_or(u16::MAX)
    }

    async fn append(&self, batch: Batch) -> Result<u64, StoreError> {
        let (heads, partition) = (self.heads.clone(), usize::from(batch.partition));
        let on_commit = move |next: &u64| {
            if let Some(head) = heads.get(partition) {
                head.send_replace(*next);
            }
        };
        self.writer.write_with_callback(move |db| statements::append(db, &batch), on_commit).await
    }

    async fn append_all(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let heads = self.heads.clone();
        let work = move |db: &Connection| {
            let append = |batch: &Batch| Ok((batch.partition, statements::append(db, batch)?));
            batches.iter().map(append).collect()
        };
        let on_commit = move |ends: &Vec<(u16, u64)>| {
            for (partition, next) in ends {
                if let Some(head) = heads.get(usize::from(*partition)) {
                    head.send_replace(*next);
                }
            }
        };
        self.writer.write_with_callback(work, on_commit).await.map(drop)
    }

    fn head(&self, partition: u16) -> Option<watch::Receiver<u64>> {
        self.heads.get(usize::from(partition)).map(watch::Sender::subscribe)
    }

    fn lost_events(&self) -> &[LostEvents] {
        &self.lost
    }

    async fn read(
        &self,
        partition: u16,
        from: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let query = move |db: &Connection| statements::events(db, partition, from, max_events, max_bytes);
        self.readers.read(query).await
    }

    async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
        self.readers.read(statements::partition_states).await
    }

    async fn first_since(&self, partition: u16, time: Timestamp) -> Result<u64, StoreError> {
        self.readers.read(move |db| statements::first_since(db, partition, time)).await
    }

    async fn remove_oldest(&self, time: Timestamp, max_bytes: u64) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::remove_oldest_events(db, time, max_bytes)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.probe().await?;
        self.readers.read(statements::partition_count).await.map(drop)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
