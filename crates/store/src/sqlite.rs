//! The SQLite store: opens the data folder and implements the `Store` port.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ferrohub_core::background::{LeaseOutcome, LeaseRequest, LeaseStore};
use ferrohub_core::files::{Blob, Condition};
use ferrohub_core::registry::Identity;
use ferrohub_core::session::Session;
use ferrohub_core::store::{
    AbandonOutcome, Activity, BlobWriteOutcome, DeviceCounts, EnqueueOutcome, ExpiredMessage,
    FeedbackOptions, ModuleChange, NewMessage, QueueEntry, QueuedNotification, Store, StoreError,
    StoredAuthority, StoredBlob, StoredFeedback, StoredMessage, StoredNotification, StoredPolicy,
    StoredSigningKey, TwinChangeFn, TwinChangeOutcome, Upload, WriteOutcome,
};
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::file::BlobName;
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{DeviceId, IdentityId, Timestamp};
use rusqlite::Connection;

use crate::data_folder::DataFolder;
use crate::database::{Database, HUB_DATABASE};
use crate::failures::Failures;
use crate::metrics::{MessagesWaiting, StoreMetrics};
use crate::readers::Readers;
use crate::writer::Writer;
use crate::{OpenError, instance, schema, statements};

/// Number of read-only connections. A few suffice: a read by key takes microseconds if the page is in memory.
const READERS: usize = 4;

/// The state of a hub: `hub.db` in its data folder.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
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
        let folder = Arc::new(DataFolder::open(folder)?);
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
        let readers = database.open_readers(READERS)?;
        let failures = Failures::new(database.file(), metrics.failures.clone());
        let writer = Writer::start(connection, "store-writer", metrics, failures.clone())
            .map_err(|source| OpenError::Folder { folder: folder.path().to_path_buf(), source })?;
        let folder = Mutex::new(Some(folder));
        Ok(Self {
            writer,
            readers: Readers::new(readers, failures),
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

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn acquire_lease(&self, request: &LeaseRequest) -> Result<LeaseOutcome, StoreError> {
        let request = request.clone();
        self.writer.write(move |db| statements::acquire_lease(db, &request)).await
    }

    async fn renew_lease(&self, name: &str, fence: u64, expiry: Timestamp) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |db| statements::set_lease_expiry(db, &name, fence, expiry)).await
    }

    async fn release_lease(&self, name: &str, fence: u64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |db| statements::release_lease(db, &name, fence)).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_identity(&self, identity: &Identity, limit: u64) -> Result<WriteOutcome, StoreError> {
        let identity = identity.clone();
        self.writer.write(move |db| statements::create_identity(db, &identity, limit)).await
    }

    async fn update_identity(
        &self,
        identity: &Identity,
        expected_etag: &str,
    ) -> Result<WriteOutcome, StoreError> {
        let (identity, expected) = (identity.clone(), expected_etag.to_owned());
        self.writer.write(move |db| statements::update_identity(db, &identity, &expected)).await
    }

    async fn create_device(
        &self,
        device: &Identity,
        modules: &[Identity],
        limit: u64,
    ) -> Result<WriteOutcome, StoreError> {
        let (device, modules) = (device.clone(), modules.to_vec());
        self.writer.write(move |db| statements::create_device(db, &device, &modules, limit)).await
    }

    async fn update_device(
        &self,
        device: &Identity,
        expected_etag: &str,
        modules: &ModuleChange,
    ) -> Result<WriteOutcome, StoreError> {
        let (device, expected, modules) = (device.clone(), expected_etag.to_owned(), modules.clone());
        self.writer.write(move |db| statements::update_device(db, &device, &expected, &modules)).await
    }

    async fn delete_identity(
        &self,
        id: &IdentityId,
        expected_etag: Option<&str>,
    ) -> Result<WriteOutcome, StoreError> {
        let (id, expected) = (id.clone(), expected_etag.map(str::to_owned));
        self.write_messages(move |db| statements::delete_identity(db, &id, expected.as_deref())).await
    }

    async fn device_counts(&self) -> Result<DeviceCounts, StoreError> {
        self.readers.read_inline(statements::device_counts).await
    }

    async fn identity(&self, id: &IdentityId) -> Result<Option<Identity>, StoreError> {
        Ok(self.identity_and_session(id).await?.map(|(identity, _)| identity))
    }

    async fn identity_and_session(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError> {
        let id = id.clone();
        self.readers.read_inline(move |db| statements::identity_and_session(db, &id)).await
    }

    async fn devices(&self, top: usize) -> Result<Vec<Identity>, StoreError> {
        self.readers.read(move |db| statements::devices(db, top)).await
    }

    async fn modules(&self, device: &DeviceId) -> Result<Vec<Identity>, StoreError> {
        let device = device.clone();
        self.readers.read(move |db| statements::modules(db, &device)).await
    }

    async fn twin(&self, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError> {
        let id = id.clone();
        self.readers.read_inline(move |db| statements::twin(db, &id)).await
    }

    async fn change_twin(
        &self,
        id: &IdentityId,
        change: TwinChangeFn,
    ) -> Result<TwinChangeOutcome, StoreError> {
        let id = id.clone();
        self.writer.write(move |db| statements::change_twin(db, &id, &change)).await
    }

    async fn save_session(
        &self,
        id: &IdentityId,
        session: Option<&Session>,
    ) -> Result<WriteOutcome, StoreError> {
        let (id, session) = (id.clone(), session.copied());
        self.writer.write(move |db| statements::save_session(db, &id, session)).await
    }

    async fn save_activity(&self, activity: &[Activity]) -> Result<(), StoreError> {
        let activity = activity.to_vec();
        self.writer.write(move |db| statements::save_activity(db, &activity)).await
    }

    async fn mark_all_disconnected(&self, since: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::mark_all_disconnected(db, since)).await
    }

    async fn enqueue_message(&self, message: &NewMessage, limit: u32) -> Result<EnqueueOutcome, StoreError> {
        let message = message.clone();
        self.write_messages(move |db| statements::enqueue_message(db, &message, limit)).await
    }

    async fn queued_messages(&self, id: &IdentityId) -> Result<Vec<QueueEntry>, StoreError> {
        let id = id.clone();
        self.readers.read_inline(move |db| statements::queued_messages(db, &id)).await
    }

    async fn messages(&self, sequences: &[u64]) -> Result<Vec<StoredMessage>, StoreError> {
        let sequences = sequences.to_vec();
        self.readers.read_inline(move |db| statements::messages(db, &sequences)).await
    }

    async fn settle_messages(
        &self,
        sequences: &[u64],
        status: FeedbackStatus,
        options: FeedbackOptions,
    ) -> Result<u64, StoreError> {
        let sequences = sequences.to_vec();
        self.write_messages(move |db| statements::settle_messages(db, &sequences, status, options)).await
    }

    async fn abandon_message(
        &self,
        sequence: u64,
        max_deliveries: u32,
        options: FeedbackOptions,
    ) -> Result<AbandonOutcome, StoreError> {
        self.write_messages(move |db| statements::abandon_message(db, sequence, max_deliveries, options))
            .await
    }

    async fn purge_messages(
        &self,
        id: &IdentityId,
        options: FeedbackOptions,
    ) -> Result<Option<u64>, StoreError> {
        let id = id.clone();
        self.write_messages(move |db| statements::purge_messages(db, &id, options)).await
    }

    async fn expired_messages(
        &self,
        now: Timestamp,
        after: (Timestamp, u64),
        top: usize,
    ) -> Result<Vec<ExpiredMessage>, StoreError> {
        self.readers.read(move |db| statements::expired_messages(db, now, after, top)).await
    }

    async fn next_expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read(move |db| statements::next_expiry(db, now)).await
    }

    async fn feedback(&self, excluded: &[u64], top: usize) -> Result<Vec<StoredFeedback>, StoreError> {
        let excluded = excluded.to_vec();
        self.readers.read(move |db| statements::feedback(db, &excluded, top)).await
    }

    async fn complete_feedback(&self, sequences: &[u64]) -> Result<(), StoreError> {
        let sequences = sequences.to_vec();
        self.writer.write(move |db| statements::complete_feedback(db, &sequences)).await
    }

    async fn abandon_feedback(&self, sequences: &[u64], max_deliveries: u32) -> Result<(), StoreError> {
        let sequences = sequences.to_vec();
        self.writer.write(move |db| statements::abandon_feedback(db, &sequences, max_deliveries)).await
    }

    async fn expire_feedback(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::expire_feedback(db, now)).await
    }

    async fn begin_upload(
        &self,
        upload: &Upload,
        now: Timestamp,
        limit: u32,
    ) -> Result<WriteOutcome, StoreError> {
        let upload = upload.clone();
        self.writer.write(move |db| statements::begin_upload(db, &upload, now, limit)).await
    }

    async fn upload(&self, correlation_id: &str) -> Result<Option<Upload>, StoreError> {
        let id = correlation_id.to_owned();
        self.readers.read_inline(move |db| statements::upload(db, &id)).await
    }

    async fn end_upload(
        &self,
        correlation_id: &str,
        notification: Option<&QueuedNotification>,
    ) -> Result<WriteOutcome, StoreError> {
        let (id, notification) = (correlation_id.to_owned(), notification.cloned());
        self.writer.write(move |db| statements::end_upload(db, &id, notification.as_ref())).await
    }

    async fn expire_uploads(
        &self,
        now: Timestamp,
        remove_before: Timestamp,
    ) -> Result<Vec<Upload>, StoreError> {
        self.writer.write(move |db| statements::expire_uploads(db, now, remove_before)).await
    }

    async fn file_notifications(
        &self,
        now: Timestamp,
        excluded: &[u64],
        top: usize,
    ) -> Result<Vec<StoredNotification>, StoreError> {
        let excluded = excluded.to_vec();
        self.readers.read(move |db| statements::file_notifications(db, now, &excluded, top)).await
    }

    async fn count_file_notification_delivery(&self, sequence: u64) -> Result<bool, StoreError> {
        self.writer.write(move |db| statements::count_file_notification_delivery(db, sequence)).await
    }

    async fn complete_file_notifications(&self, sequences: &[u64]) -> Result<u64, StoreError> {
        let sequences = sequences.to_vec();
        self.writer.write(move |db| statements::complete_file_notifications(db, &sequences)).await
    }

    async fn abandon_file_notifications(
        &self,
        sequences: &[u64],
        max_deliveries: u32,
    ) -> Result<u64, StoreError> {
        let sequences = sequences.to_vec();
        self.writer
            .write(move |db| statements::abandon_file_notifications(db, &sequences, max_deliveries))
            .await
    }

    async fn expire_file_notifications(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::expire_file_notifications(db, now)).await
    }

    async fn blob(&self, name: &BlobName) -> Result<Option<StoredBlob>, StoreError> {
        let name = name.clone();
        self.readers.read_inline(move |db| statements::blob(db, &name)).await
    }

    async fn blobs(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, StoreError> {
        let (device, after) = (device.map(str::to_owned), after.map(str::to_owned));
        self.readers.read(move |db| statements::blobs(db, device.as_deref(), after.as_deref(), top)).await
    }

    async fn put_blob(
        &self,
        blob: &StoredBlob,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError> {
        let (blob, condition) = (blob.clone(), condition.clone());
        self.writer.write(move |db| statements::put_blob(db, &blob, &condition)).await
    }

    async fn delete_blob(
        &self,
        name: &BlobName,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError> {
        let (name, condition) = (name.clone(), condition.clone());
        self.writer.write(move |db| statements::delete_blob(db, &name, &condition)).await
    }

    async fn blob_files(&self) -> Result<Vec<(String, BlobName)>, StoreError> {
        self.readers.read(statements::blob_files).await
    }

    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        self.readers.read(statements::signing_keys).await
    }

    async fn save_signing_key(
        &self,
        key: &StoredSigningKey,
        replaces: Option<Timestamp>,
        keep: usize,
    ) -> Result<bool, StoreError> {
        let key = key.clone();
        self.writer.write(move |db| statements::save_signing_key(db, &key, replaces, keep)).await
    }

    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        self.readers.read(statements::policies).await
    }

    async fn save_policy(&self, policy: &StoredPolicy) -> Result<(), StoreError> {
        let policy = policy.clone();
        self.writer.write(move |db| statements::save_policy(db, &policy)).await
    }

    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError> {
        self.readers.read(statements::authorities).await
    }

    async fn save_authority(&self, authority: &StoredAuthority) -> Result<(), StoreError> {
        let authority = authority.clone();
        self.writer.write(move |db| statements::save_authority(db, &authority)).await
    }

    async fn delete_authority(&self, name: &str) -> Result<WriteOutcome, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |db| statements::delete_authority(db, &name)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.probe().await?;
        self.readers.read(|db| db.query_row("SELECT devices FROM registry_size", [], |_| Ok(()))).await
    }

    async fn close(&self) {
        // The last connection to close must be the writer's, so that SQLite can remove the WAL: close the readers
        // first.
        self.readers.close(READERS).await;
        self.writer.close().await;
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
