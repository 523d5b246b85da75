//! The `Store` port: what must survive a restart.
//!
//! Every write that returns `Ok` is on disk. Writes of many callers share one commit, so an adapter
//! is expected to be called concurrently. One conformance suite runs over every adapter.

mod messages;

pub use messages::{
    AbandonOutcome, EnqueueOutcome, ExpiredMessage, FeedbackOptions, NewMessage, QueueEntry, StoredFeedback,
    StoredMessage,
};

use async_trait::async_trait;
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{DeviceId, HubError, IdentityId, Rights, SharedAccessKey, Timestamp};

use crate::blobs::{Blob, Condition, ConditionFailed};
use crate::registry::Identity;
use crate::session::Session;
use crate::twins::TwinDocument;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is closing or gone; nothing was written.
    #[error("the store is closed")]
    Closed,
    /// The medium or the database failed; nothing was written.
    #[error("the store failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be understood.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is on disk.
    Done,
    /// The identity was not there.
    NotFound,
    /// The identity was there already, or its etag was not the expected one.
    Conflict,
    /// The hub, or the device for its modules, holds as many as it may.
    Full,
}

/// Makes a twin's next state from the one that is stored, or says why not. It may be called more than once.
pub type TwinChangeFn = Box<dyn Fn(&TwinDocument) -> Result<TwinDocument, HubError> + Send>;

/// How a change of a twin ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TwinChangeOutcome {
    /// It is on disk: the identity, and its twin as it is now.
    Done(Box<(Identity, TwinDocument)>),
    /// The identity was not there.
    NotFound,
    /// The change itself said no; nothing was written.
    Refused(HubError),
}

/// Modules that come or go with a change of their device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleChange {
    /// To be there afterwards.
    pub added: Vec<Identity>,
    /// Not to be there afterwards.
    pub removed: Vec<IdentityId>,
}

/// A shared access policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// Its name; the `skn` of tokens.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// Either key signs.
    pub primary_key: SharedAccessKey,
    /// Either key signs.
    pub secondary_key: SharedAccessKey,
}

/// A certificate authority for devices as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// What the operator calls it.
    pub name: String,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Whether its owner proved to hold its private key; only then does it count.
    pub verified: bool,
    /// The code that the proof must carry, while one is awaited.
    pub verification_code: Option<String>,
}

/// How many devices there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCounts {
    /// All of them; modules are not counted.
    pub total: u64,
    /// Those among them that are disabled.
    pub disabled: u64,
}

/// An identity that came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether it is connected since then, or is not.
    pub connected: bool,
    /// Since when.
    pub since: Timestamp,
}

/// When an identity was connected or heard from; kept for people, not for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// Who.
    pub id: IdentityId,
    /// Only counts for this generation, so that a re-created device does not inherit it.
    pub generation_id: String,
    /// When it last connected or disconnected; `None` if that is as before.
    pub presence: Option<Presence>,
    /// When the hub last heard from it.
    pub last_activity: Timestamp,
}

/// An upload that a device has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What the device names it by.
    pub correlation_id: String,
    /// Whose, and what.
    pub blob: BlobName,
    /// When it runs out.
    pub expires: Timestamp,
}

/// A blob of the hub's own folder, and the file that holds its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: Blob,
    /// A name that says nothing.
    pub file: String,
}

/// How a write of a blob ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobWriteOutcome {
    /// It is on disk. The file of the blob that was there before holds nothing any more.
    Done(Option<StoredBlob>),
    /// The condition says no; nothing was written.
    Refused(ConditionFailed),
}

/// What signs URLs of the hub's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSigningKey {
    /// The key.
    pub key: SharedAccessKey,
    /// When it was made.
    pub created: Timestamp,
}

/// A notification of a file for services, and until when it is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedNotification {
    /// What it says.
    pub notification: FileNotification,
    /// When it is thrown away.
    pub expires: Timestamp,
    /// How many may wait with it; the oldest are thrown away.
    pub limit: u32,
}

/// How the next notification is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationLock {
    /// Names it until it is completed or abandoned.
    pub token: String,
    /// When it is handed out again.
    pub until: Timestamp,
    /// How often it may be handed out; then it is thrown away.
    pub max_deliveries: u32,
}

/// Durable state of one hub.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Adds an identity. `Conflict` if the id is taken, `NotFound` if it is a module of a device that is
    /// not there, `Full` if there are `limit` identities already (modules: on that device).
    async fn create_identity(&self, identity: &Identity, limit: u64) -> Result<WriteOutcome, StoreError>;

    /// Replaces an identity whose etag is still `expected_etag`. Leaves its activity times and session alone.
    async fn update_identity(
        &self,
        identity: &Identity,
        expected_etag: &str,
    ) -> Result<WriteOutcome, StoreError>;

    /// The same for a device and the modules that come with it: all of them or none.
    async fn create_device(
        &self,
        device: &Identity,
        modules: &[Identity],
        limit: u64,
    ) -> Result<WriteOutcome, StoreError>;

    /// The same for a device, some of whose modules come or go with the change: all of it or nothing. A module that is
    /// there already stays as it is, one that is not there is gone.
    async fn update_device(
        &self,
        device: &Identity,
        expected_etag: &str,
        modules: &ModuleChange,
    ) -> Result<WriteOutcome, StoreError>;

    /// Removes an identity, its modules and everything kept for them, if its etag is still `expected_etag`
    /// (`None`: whatever it is).
    async fn delete_identity(
        &self,
        id: &IdentityId,
        expected_etag: Option<&str>,
    ) -> Result<WriteOutcome, StoreError>;

    /// How many devices there are, in a time that does not depend on it.
    async fn device_counts(&self) -> Result<DeviceCounts, StoreError>;

    /// One identity.
    async fn identity(&self, id: &IdentityId) -> Result<Option<Identity>, StoreError>;

    /// One identity and its session (an empty one if there is none), in one read: what a connect needs.
    async fn identity_and_session(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError>;

    /// The first `top` devices (no modules) in the order of their ids.
    async fn devices(&self, top: usize) -> Result<Vec<Identity>, StoreError>;

    /// The modules of a device in the order of their ids.
    async fn modules(&self, device: &DeviceId) -> Result<Vec<Identity>, StoreError>;

    /// One identity and its twin; that of an identity whose twin was never changed is the default.
    async fn twin(&self, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError>;

    /// Puts what `change` makes of a twin in its place; nobody else changes it between. Changes of one caller that asks
    /// for them one after the other, without waiting, are made in that order.
    async fn change_twin(
        &self,
        id: &IdentityId,
        change: TwinChangeFn,
    ) -> Result<TwinChangeOutcome, StoreError>;

    /// Keeps the session of an identity, or forgets it (`None`). `NotFound` if the identity is not there.
    async fn save_session(
        &self,
        id: &IdentityId,
        session: Option<&Session>,
    ) -> Result<WriteOutcome, StoreError>;

    /// Keeps when identities were last heard of. Identities that are gone are passed over, and no time runs backwards.
    async fn save_activity(&self, activity: &[Activity]) -> Result<(), StoreError>;

    /// Nobody is connected since `since`: whoever was, by what was kept, is so no more. How many that were.
    async fn mark_all_disconnected(&self, since: Timestamp) -> Result<u64, StoreError>;

    /// Puts a message behind the others of its queue; `Full` if there are `limit` already.
    async fn enqueue_message(&self, message: &NewMessage, limit: u32) -> Result<EnqueueOutcome, StoreError>;

    /// The queue of an identity, oldest first, without what is in the messages.
    async fn queued_messages(&self, id: &IdentityId) -> Result<Vec<QueueEntry>, StoreError>;

    /// The messages with these numbers, in the order of these. Those that are gone are passed over.
    async fn messages(&self, sequences: &[u64]) -> Result<Vec<StoredMessage>, StoreError>;

    /// Takes messages out of their queues, and keeps what became of them for senders who want to hear it, both or
    /// neither. How many were there.
    async fn settle_messages(
        &self,
        sequences: &[u64],
        status: FeedbackStatus,
        options: FeedbackOptions,
    ) -> Result<u64, StoreError>;

    /// Counts that the device gave a message back. One that it gave back `max_deliveries` times comes to its end.
    async fn abandon_message(
        &self,
        sequence: u64,
        max_deliveries: u32,
        options: FeedbackOptions,
    ) -> Result<AbandonOutcome, StoreError>;

    /// Empties the queue of an identity; how many messages were in it. `None` if the identity is not there.
    async fn purge_messages(
        &self,
        id: &IdentityId,
        options: FeedbackOptions,
    ) -> Result<Option<u64>, StoreError>;

    /// The first `top` messages whose time is up at `now`, in the order of time and number, behind `after`.
    async fn expired_messages(
        &self,
        now: Timestamp,
        after: (Timestamp, u64),
        top: usize,
    ) -> Result<Vec<ExpiredMessage>, StoreError>;

    /// The first moment after `now` at which the time of a message or of feedback is up.
    async fn next_expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// The first `top` records of feedback, oldest first, but for those with these numbers.
    async fn feedback(&self, excluded: &[u64], top: usize) -> Result<Vec<StoredFeedback>, StoreError>;

    /// Forgets records of feedback.
    async fn complete_feedback(&self, sequences: &[u64]) -> Result<(), StoreError>;

    /// Counts that records of feedback were given back. Those that were `max_deliveries` times are forgotten.
    async fn abandon_feedback(&self, sequences: &[u64], max_deliveries: u32) -> Result<(), StoreError>;

    /// Forgets records of feedback whose time is up at `now`; how many.
    async fn expire_feedback(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Keeps an upload that begins. `NotFound` if the device is not there, `Full` if `limit` uploads of it have not run out
    /// at `now`.
    async fn begin_upload(
        &self,
        upload: &Upload,
        now: Timestamp,
        limit: u32,
    ) -> Result<WriteOutcome, StoreError>;

    /// An upload that has not ended.
    async fn upload(&self, correlation_id: &str) -> Result<Option<Upload>, StoreError>;

    /// Ends an upload, and keeps what is to be told of it: both or none. `NotFound` if it has ended already.
    async fn end_upload(
        &self,
        correlation_id: &str,
        notification: Option<&QueuedNotification>,
    ) -> Result<WriteOutcome, StoreError>;

    /// The uploads that ran out until `now` and were not named by an earlier call; those that ran out before `remove_before` are
    /// removed.
    async fn expire_uploads(
        &self,
        now: Timestamp,
        remove_before: Timestamp,
    ) -> Result<Vec<Upload>, StoreError>;

    /// Locks the next notification that is neither locked nor thrown away at `now`.
    async fn lock_next_file_notification(
        &self,
        now: Timestamp,
        lock: &NotificationLock,
    ) -> Result<Option<FileNotification>, StoreError>;

    /// Removes a notification that is locked with this token. `NotFound` if the lock has run out at `now`.
    async fn complete_file_notification(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError>;

    /// Gives a notification that is locked with this token back. `NotFound` if the lock has run out at `now`.
    async fn abandon_file_notification(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError>;

    /// Removes notifications that are not worth telling any more, or were handed out too often; how many.
    async fn expire_file_notifications(&self, now: Timestamp, max_deliveries: u32)
    -> Result<u64, StoreError>;

    /// One blob of the hub's own folder.
    async fn blob(&self, name: &BlobName) -> Result<Option<StoredBlob>, StoreError>;

    /// Blobs in the order of their names: those of a device, or all; behind `after`; at most `top`.
    async fn blobs(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, StoreError>;

    /// Adds or replaces a blob, if what is there fits the condition.
    async fn put_blob(
        &self,
        blob: &StoredBlob,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError>;

    /// Removes a blob, if what is there fits the condition; `Done(None)` if nothing was there.
    async fn delete_blob(
        &self,
        name: &BlobName,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError>;

    /// The files of all blobs, and how many bytes each holds.
    async fn blob_files(&self) -> Result<Vec<(String, u64)>, StoreError>;

    /// What signs URLs of the hub's own folder, the newest first.
    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError>;

    /// Adds a key, and forgets all but the newest `keep`.
    async fn save_signing_key(&self, key: &StoredSigningKey, keep: usize) -> Result<(), StoreError>;

    /// All stored policies, by name.
    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError>;

    /// Adds or replaces a policy.
    async fn save_policy(&self, policy: &StoredPolicy) -> Result<(), StoreError>;

    /// All stored certificate authorities, by name.
    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError>;

    /// Adds or replaces a certificate authority.
    async fn save_authority(&self, authority: &StoredAuthority) -> Result<(), StoreError>;

    /// Removes a certificate authority; `NotFound` if there is none of that name.
    async fn delete_authority(&self, name: &str) -> Result<WriteOutcome, StoreError>;

    /// Whether the store answers: a read that touches the medium.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what was accepted and closes; later calls answer [`StoreError::Closed`].
    async fn close(&self);
}
