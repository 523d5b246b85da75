//! The SQLite store: opens the data folder and implements the `Store` port, one file for each part of the port.

mod configurations;
mod connections;
mod files;
mod import_export;
mod jobs;
mod leases;
mod messages;
mod queries;
mod registry;
mod settings;
mod twins;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ferrohub_core::import_export::{JobProgress, JobRun};
use ferrohub_core::policies::StoredPolicy;
use ferrohub_core::queries::QueryLimits;
use ferrohub_core::store::{Change, ChangeGroup, Outcomes, RecordFn, Store, StoreError};
use rusqlite::Connection;

use crate::background_readers::BackgroundReaders;
use crate::data_folder::DataFolder;
use crate::database::{Database, HUB_DATABASE};
use crate::failures::Failures;
use crate::metrics::{MessagesWaiting, StoreMetrics};
use crate::queries::IndexedPath;
use crate::readers::Readers;
use crate::writer::Writer;
use crate::{OpenError, instance, schema, statements};

/// Number of read-only connections. A few suffice: a read by key takes microseconds if the page is in memory.
const READERS: usize = 4;

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Number of read-only connections for queries on twins: so many can run at the same time.
    pub query_readers: usize,
    /// Paths of twins that have an index.
    pub indexed_paths: Vec<IndexedPath>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { query_readers: QueryLimits::default().concurrent, indexed_paths: Vec::new() }
    }
}

/// The state of a hub: `hub.db` in its data folder.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    /// Queries use connections of their own: other reads never wait for them.
    query_readers: BackgroundReaders,
    indexed_paths: Arc<[IndexedPath]>,
    messages_waiting: MessagesWaiting,
    /// Keeps the data folder locked until the store is closed.
    folder: Mutex<Option<Arc<DataFolder>>>,
    instance: String,
    is_new: bool,
}

impl SqliteStore {
    /// Opens the data folder, creates it (mode 0700, its files 0600) if it does not exist, and migrates an older
    /// database to this version's schema.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another hub has locked the folder, [`OpenError::TooNew`] if a newer version wrote it,
    /// [`OpenError::OldData`] if the store is missing beside events or files. In all cases, nothing is changed.
    pub fn open(folder: &Path, metrics: StoreMetrics) -> Result<Self, OpenError> {
        Self::open_with(folder, metrics, StoreSettings::default())
    }

    /// Like [`SqliteStore::open`], with settings. Creates the indexes of its paths, and drops those of others.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(
        folder: &Path,
        metrics: StoreMetrics,
        settings: StoreSettings,
    ) -> Result<Self, OpenError> {
        let folder = Arc::new(DataFolder::open(folder)?);
        crate::backup::check_finished(folder.path())?;
        let database = Database::new(folder.path(), &HUB_DATABASE);
        let is_new = database.is_new();
        if is_new {
            instance::check_new(folder.path())?;
        }
        let connection = database.open_for_writing()?;
        let instance = instance::of_hub(&connection, &database)?;
        let messages_waiting = metrics.messages_waiting.clone();
        let waiting = statements::message_count(&connection).map_err(|source| database.open_error(source))?;
        messages_waiting.set(waiting);
        crate::queries::create_indexes(&connection, &settings.indexed_paths)
            .map_err(|source| database.open_error(source))?;
        let readers = database.open_readers(READERS)?;
        let query_readers = database.open_readers(settings.query_readers.max(1))?;
        for reader in &query_readers {
            crate::queries::prepare_reader(reader).map_err(|source| database.open_error(source))?;
        }
        let failures = Failures::new(database.file(), metrics.failures.clone());
        let thread_error = |source| OpenError::Folder { folder: folder.path().to_path_buf(), source };
        let writer =
            Writer::start(connection, "store-writer", metrics, failures.clone()).map_err(thread_error)?;
        let query_readers =
            BackgroundReaders::start(query_readers, failures.clone()).map_err(thread_error)?;
        let folder = Mutex::new(Some(folder));
        Ok(Self {
            writer,
            readers: Readers::new(readers, failures),
            query_readers,
            indexed_paths: settings.indexed_paths.into(),
            messages_waiting,
            folder,
            instance,
            is_new,
        })
    }

    /// Creates the folder for uploaded files in the data folder and returns its path.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] if it contains the files of another hub.
    pub fn claim_blobs_folder(&self) -> Result<PathBuf, OpenError> {
        let folder = self.folder().ok_or(OpenError::Closed)?;
        instance::claim_blobs(folder.path(), &self.instance)
    }

    /// Returns the id of this hub, which all parts of its data folder share.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns whether the store did not exist before it was opened.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the data folder; `None` after the store was closed.
    pub(crate) fn folder(&self) -> Option<Arc<DataFolder>> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a write of groups of changes.
    async fn write_groups<T, F>(&self, removes_messages: bool, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        match removes_messages {
            true => self.write_messages(work).await,
            false => self.writer.write(work).await,
        }
    }

    /// Runs a write that may change the number of messages, and sets the gauge once it is on disk.
    async fn write_messages<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let waiting = self.messages_waiting.clone();
        let counted = move |db: &Connection| Ok((work(db)?, statements::message_count(db)?));
        let on_commit = move |(_, count): &(T, i64)| {
            waiting.set(*count);
        };
        Ok(self.writer.write_with_callback(counted, on_commit).await?.0)
    }
}

/// Reads the policies in a data folder, whether a hub is running on it or not. The owner of the folder uses their keys
/// to call the hub.
///
/// # Errors
/// [`OpenError::NotInitialized`] if no hub has used the folder yet.
pub fn read_policies(folder: &Path) -> Result<Vec<StoredPolicy>, OpenError> {
    let database = Database::new(folder, &HUB_DATABASE);
    let missing = || OpenError::NotInitialized { folder: folder.to_path_buf() };
    if !database.file().exists() {
        return Err(missing());
    }
    let connection = database.open_reader()?;
    if schema::check(&connection, &database)? == 0 {
        return Err(missing());
    }
    statements::policies(&connection).map_err(|source| database.open_error(source))
}

/// Returns whether one of the changes may remove messages.
fn removes_messages(groups: &[ChangeGroup]) -> bool {
    let is_delete = |change: &Change| matches!(change, Change::Delete { .. } | Change::EnsureNoModule(_));
    groups.iter().flat_map(|group| &group.0).any(is_delete)
}

#[async_trait]
impl Store for SqliteStore {
    async fn apply(&self, groups: Vec<ChangeGroup>) -> Result<Outcomes, StoreError> {
        self.write_groups(removes_messages(&groups), |db| statements::apply(db, groups)).await
    }

    async fn apply_for_job(
        &self,
        groups: Vec<ChangeGroup>,
        run: &JobRun,
        record: RecordFn,
    ) -> Result<Option<(Outcomes, JobProgress)>, StoreError> {
        let run = run.clone();
        let removes = removes_messages(&groups);
        self.write_groups(removes, move |db| {
            if !statements::is_current_run(db, &run)? {
                return Ok(None);
            }
            let outcomes = statements::apply(db, groups)?;
            let record = record(&outcomes);
            statements::record_run(db, &run, &record)?;
            Ok(Some((outcomes, record.progress)))
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.probe().await?;
        self.readers.read(|db| db.query_row("SELECT devices FROM registry_size", [], |_| Ok(()))).await
    }

    async fn close(&self) {
        // The last connection to close must be the writer's, so that SQLite can remove the WAL: close the readers
        // first.
        self.query_readers.close().await;
        self.readers.close().await;
        self.writer.close().await;
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
