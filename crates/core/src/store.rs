//! The `Store` port: all state that must survive a restart.
//!
//! A write that returns `Ok` is persisted. Concurrent writes share one commit, so an adapter must expect concurrent
//! calls. One conformance suite runs against every adapter.

mod messages;

pub use messages::{
    AbandonOutcome, EnqueueOutcome, ExpiredMessage, FeedbackOptions, NewMessage, QueueEntry, StoredFeedback,
    StoredMessage,
};

pub use crate::files::StoredSigningKey;
pub use crate::store_error::StoreError;
pub(crate) use crate::store_error::store_failed;

use async_trait::async_trait;
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{DeviceId, HubError, IdentityId, Rights, SharedAccessKey, Timestamp};

use crate::background::LeaseStore;
use crate::files::{Blob, Condition, ConditionFailed};
use crate::registry::Identity;
use crate::session::Session;
use crate::twins::TwinDocument;

/// The outcome of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The write is persisted.
    Done,
    /// The identity or other target does not exist.
    NotFound,
    /// The identity already exists, or its etag differs from the expected one.
    Conflict,
    /// The maximum number is reached, for the hub or for the device.
    Full,
}

/// Computes the new twin from the stored one, or returns why the change is refused. It may be called more than once.
pub type TwinChangeFn = Box<dyn Fn(&TwinDocument) -> Result<TwinDocument, HubError> + Send>;

/// The outcome of a twin change.
#[derive(Debug, Clone, PartialEq)]
pub enum TwinChangeOutcome {
    /// The change is persisted: the identity, and its twin after the change.
    Done(Box<(Identity, TwinDocument)>),
    /// The identity does not exist.
    NotFound,
    /// The change function returned an error; nothing was written.
    Refused(HubError),
}

/// Modules to add and remove together with a change of their device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleChange {
    /// Modules that must exist after the change.
    pub added: Vec<Identity>,
    /// Modules that must not exist after the change.
    pub removed: Vec<IdentityId>,
}

/// A shared access policy as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// The name; the `skn` of tokens.
    pub name: String,
    /// The rights that it grants.
    pub rights: Rights,
    /// The primary key. Tokens may be signed with either key.
    pub primary_key: SharedAccessKey,
    /// The secondary key.
    pub secondary_key: SharedAccessKey,
}

/// A certificate authority (CA) for devices as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// The name that the operator gave it.
    pub name: String,
    /// The CA certificate, DER.
    pub certificate: Vec<u8>,
    /// Whether its owner proved possession of the private key. An unverified CA is not trusted.
    pub verified: bool,
    /// The verification code that the pending proof of possession must contain.
    pub verification_code: Option<String>,
}

/// Numbers of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCounts {
    /// All devices, without modules.
    pub total: u64,
    /// The disabled devices.
    pub disabled: u64,
}

/// The connection state of an identity and the time of its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether the identity is connected.
    pub connected: bool,
    /// When it connected or disconnected.
    pub since: Timestamp,
}

/// The last activity of an identity. For display only: the hub makes no decisions based on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// The identity.
    pub id: IdentityId,
    /// The generation that it applies to, so that a re-created device does not inherit it.
    pub generation_id: String,
    /// The new connection state; `None` if it did not change.
    pub presence: Option<Presence>,
    /// When the hub last received data from it.
    pub last_activity: Timestamp,
}

/// A file upload that a device has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The correlation id that the device refers to it by.
    pub correlation_id: String,
    /// The blob; its name starts with the device id.
    pub blob: BlobName,
    /// The expiry.
    pub expires: Timestamp,
}

/// A blob of the hub's own folder, and the file that holds its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: Blob,
    /// The file's name, which is unrelated to the blob's name.
    pub file: String,
}

/// The outcome of a blob write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobWriteOutcome {
    /// The write is persisted. Contains the previous blob, if any: its file is no longer in use.
    Done(Option<StoredBlob>),
    /// The condition is not met; nothing was written.
    Refused(ConditionFailed),
}

/// A file notification to enqueue for services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedNotification {
    /// The notification.
    pub notification: FileNotification,
    /// The expiry.
    pub expires: Timestamp,
    /// Maximum number of queued notifications, this one included. The oldest ones beyond it are deleted.
    pub limit: u32,
}

/// A queued file notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNotification {
    /// The sequence number, larger than those of all earlier notifications.
    pub sequence: u64,
    /// How often it was handed out to a service.
    pub deliveries: u32,
    /// The notification.
    pub notification: FileNotification,
}

/// The persistent state of one hub.
#[async_trait]
pub trait Store: LeaseStore + Send + Sync + 'static {
    /// Adds an identity. Returns `Conflict` if the id exists, `NotFound` for a module whose device does not exist, and
    /// `Full` if `limit` identities already exist (for a module: `limit` modules of its device).
    async fn create_identity(&self, identity: &Identity, limit: u64) -> Result<WriteOutcome, StoreError>;

    /// Replaces an identity if its etag is still `expected_etag`. Does not change its activity times and session.
    async fn update_identity(
        &self,
        identity: &Identity,
        expected_etag: &str,
    ) -> Result<WriteOutcome, StoreError>;

    /// Adds a device and its initial modules in one transaction. Outcomes as for [`Self::create_identity`].
    async fn create_device(
        &self,
        device: &Identity,
        modules: &[Identity],
        limit: u64,
    ) -> Result<WriteOutcome, StoreError>;

    /// Replaces a device if its etag is still `expected_etag`, and adds and removes modules, in one transaction. A
    /// module to add that already exists stays unchanged; a module to remove that does not exist is ignored.
    async fn update_device(
        &self,
        device: &Identity,
        expected_etag: &str,
        modules: &ModuleChange,
    ) -> Result<WriteOutcome, StoreError>;

    /// Deletes an identity, its modules and all their data, if its etag is still `expected_etag` (`None`: any etag).
    async fn delete_identity(
        &self,
        id: &IdentityId,
        expected_etag: Option<&str>,
    ) -> Result<WriteOutcome, StoreError>;

    /// Returns the numbers of devices, in constant time.
    async fn device_counts(&self) -> Result<DeviceCounts, StoreError>;

    /// Returns an identity, or `None` if it does not exist.
    async fn identity(&self, id: &IdentityId) -> Result<Option<Identity>, StoreError>;

    /// Returns an identity and its session, if it has one, in a single read. For connects.
    async fn identity_and_session(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, Option<Session>)>, StoreError>;

    /// Returns the first `top` devices in id order, without modules.
    async fn devices(&self, top: usize) -> Result<Vec<Identity>, StoreError>;

    /// Returns the modules of a device in id order.
    async fn modules(&self, device: &DeviceId) -> Result<Vec<Identity>, StoreError>;

    /// Returns an identity and its twin. A twin that was never changed is the default.
    async fn twin(&self, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError>;

    /// Atomically replaces a twin by the result of `change`. Changes that one caller submits without awaiting the
    /// previous ones are applied in the order of submission.
    async fn change_twin(
        &self,
        id: &IdentityId,
        change: TwinChangeFn,
    ) -> Result<TwinChangeOutcome, StoreError>;

    /// Saves the session of an identity, or deletes it (`None`). Returns `NotFound` if the identity does not exist.
    async fn save_session(
        &self,
        id: &IdentityId,
        session: Option<&Session>,
    ) -> Result<WriteOutcome, StoreError>;

    /// Saves activities. Skips identities that no longer exist, and never sets a time to an earlier value.
    async fn save_activity(&self, activity: &[Activity]) -> Result<(), StoreError>;

    /// Marks all identities stored as connected as disconnected since `since`. Returns their number.
    async fn mark_all_disconnected(&self, since: Timestamp) -> Result<u64, StoreError>;

    /// Appends a message to its queue. Returns `Full` if `limit` messages are in the queue.
    async fn enqueue_message(&self, message: &NewMessage, limit: u32) -> Result<EnqueueOutcome, StoreError>;

    /// Returns the queue of an identity, oldest first, without properties and bodies.
    async fn queued_messages(&self, id: &IdentityId) -> Result<Vec<QueueEntry>, StoreError>;

    /// Returns the messages with these sequence numbers, in this order. Skips those that no longer exist.
    async fn messages(&self, sequences: &[u64]) -> Result<Vec<StoredMessage>, StoreError>;

    /// Removes messages from their queues and stores the feedback that their senders requested, in one transaction.
    /// Returns the number of messages removed.
    async fn settle_messages(
        &self,
        sequences: &[u64],
        status: FeedbackStatus,
        options: FeedbackOptions,
    ) -> Result<u64, StoreError>;

    /// Abandons a message and increments its delivery count. At `max_deliveries` the message is dead-lettered.
    async fn abandon_message(
        &self,
        sequence: u64,
        max_deliveries: u32,
        options: FeedbackOptions,
    ) -> Result<AbandonOutcome, StoreError>;

    /// Empties the queue of an identity. Returns the number of messages removed, or `None` if the identity does not
    /// exist.
    async fn purge_messages(
        &self,
        id: &IdentityId,
        options: FeedbackOptions,
    ) -> Result<Option<u64>, StoreError>;

    /// Returns the first `top` messages that are expired at `now`, in order of expiry and sequence number, starting
    /// after `after`.
    async fn expired_messages(
        &self,
        now: Timestamp,
        after: (Timestamp, u64),
        top: usize,
    ) -> Result<Vec<ExpiredMessage>, StoreError>;

    /// Returns the earliest expiry of a message or feedback record after `now`.
    async fn next_expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Returns the first `top` feedback records, oldest first, without those with the sequence numbers `excluded`.
    async fn feedback(&self, excluded: &[u64], top: usize) -> Result<Vec<StoredFeedback>, StoreError>;

    /// Deletes feedback records.
    async fn complete_feedback(&self, sequences: &[u64]) -> Result<(), StoreError>;

    /// Abandons feedback records and increments their delivery counts. Deletes those that reach `max_deliveries`.
    async fn abandon_feedback(&self, sequences: &[u64], max_deliveries: u32) -> Result<(), StoreError>;

    /// Deletes the feedback records that are expired at `now`. Returns their number.
    async fn expire_feedback(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Stores a new upload. Returns `NotFound` if the device does not exist, and `Full` if the device has `limit`
    /// uploads that are not expired at `now`.
    async fn begin_upload(
        &self,
        upload: &Upload,
        now: Timestamp,
        limit: u32,
    ) -> Result<WriteOutcome, StoreError>;

    /// Returns an upload that has not ended, or `None`.
    async fn upload(&self, correlation_id: &str) -> Result<Option<Upload>, StoreError>;

    /// Ends an upload and enqueues its notification, in one transaction. Returns `NotFound` if the upload has already
    /// ended.
    async fn end_upload(
        &self,
        correlation_id: &str,
        notification: Option<&QueuedNotification>,
    ) -> Result<WriteOutcome, StoreError>;

    /// Returns the uploads that are expired at `now` and were not returned by an earlier call. Deletes those that
    /// expired at or before `remove_before`.
    async fn expire_uploads(
        &self,
        now: Timestamp,
        remove_before: Timestamp,
    ) -> Result<Vec<Upload>, StoreError>;

    /// Returns the first `top` file notifications that are not expired at `now`, oldest first, without those with the
    /// sequence numbers `excluded`.
    async fn file_notifications(
        &self,
        now: Timestamp,
        excluded: &[u64],
        top: usize,
    ) -> Result<Vec<StoredNotification>, StoreError>;

    /// Increments the delivery count of a file notification. Returns false if it does not exist.
    async fn count_file_notification_delivery(&self, sequence: u64) -> Result<bool, StoreError>;

    /// Deletes file notifications. Returns how many of them existed.
    async fn complete_file_notifications(&self, sequences: &[u64]) -> Result<u64, StoreError>;

    /// Deletes those file notifications that were delivered `max_deliveries` times. Returns how many of all these existed.
    async fn abandon_file_notifications(
        &self,
        sequences: &[u64],
        max_deliveries: u32,
    ) -> Result<u64, StoreError>;

    /// Deletes the file notifications that are expired at `now`. Returns their number.
    async fn expire_file_notifications(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Returns a blob of the hub's own folder, or `None` if it does not exist.
    async fn blob(&self, name: &BlobName) -> Result<Option<StoredBlob>, StoreError>;

    /// Lists at most `top` blobs in name order, starting after the name `after`; of one device, or of all if `device`
    /// is `None`.
    async fn blobs(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, StoreError>;

    /// Adds or replaces a blob if the stored state meets the condition.
    async fn put_blob(
        &self,
        blob: &StoredBlob,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError>;

    /// Deletes a blob if the stored state meets the condition. Returns `Done(None)` if there was no blob.
    async fn delete_blob(
        &self,
        name: &BlobName,
        condition: &Condition,
    ) -> Result<BlobWriteOutcome, StoreError>;

    /// Returns the file names and the names of all blobs.
    async fn blob_files(&self) -> Result<Vec<(String, BlobName)>, StoreError>;

    /// Returns the keys that sign blob URLs of the hub's own folder, newest first.
    async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError>;

    /// Adds a signing key and deletes all but the newest `keep` keys, if the newest key is the one that was created at
    /// `replaces`; `None` stands for no key. Otherwise returns false and changes nothing: another node has added one.
    async fn save_signing_key(
        &self,
        key: &StoredSigningKey,
        replaces: Option<Timestamp>,
        keep: usize,
    ) -> Result<bool, StoreError>;

    /// Returns all policies, sorted by name.
    async fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError>;

    /// Adds or replaces a policy.
    async fn save_policy(&self, policy: &StoredPolicy) -> Result<(), StoreError>;

    /// Returns all certificate authorities, sorted by name.
    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError>;

    /// Adds or replaces a certificate authority.
    async fn save_authority(&self, authority: &StoredAuthority) -> Result<(), StoreError>;

    /// Deletes a certificate authority. Returns `NotFound` if it does not exist.
    async fn delete_authority(&self, name: &str) -> Result<WriteOutcome, StoreError>;

    /// Checks that the store works, with a small write that reaches the disk and a read. Calls in quick succession may
    /// share one write.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Completes all accepted writes and closes. Later calls return [`StoreError::Closed`].
    async fn close(&self);
}
