//! The trait [`EventLog`], which the store implements: a persistent log of events, in the order in which the hub
//! accepted them.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_model::{IdentityId, Timestamp};
use tokio::sync::watch;

use super::{AuthMethod, EventProperties, EventSource, StoredEvent};
use crate::store::StoreError;

/// What an event records about its identity: the device or module that sent it, or that a hub event is about. What kind
/// of event it is, is the [`EventSource`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventIdentity {
    /// The device, or the module: a part of a device that has its own id and credentials.
    pub id: IdentityId,
    /// The generation id of the identity. It distinguishes identities that had the same id one after the other.
    pub generation_id: String,
    /// How the sender authenticated. `None` for hub events.
    pub auth: Option<AuthMethod>,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The properties.
    pub properties: EventProperties,
    /// The body.
    pub body: Bytes,
}

/// Events of one identity and one source that are appended atomically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The partition to append to.
    pub partition: u16,
    /// What the events report: telemetry, a change of a twin (the hub's document about a device), and so on.
    pub source: EventSource,
    /// The identity that they belong to.
    pub identity: EventIdentity,
    /// When the hub accepted the events.
    pub now: Timestamp,
    /// The events, in order.
    pub events: Vec<NewEvent>,
}

impl Batch {
    /// Returns the size in the log, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.events.iter().map(NewEvent::bytes).sum()
    }
}

impl NewEvent {
    /// Returns the size in the log, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.body.len() + self.properties.as_stored().len()) as u64 + EVENT_OVERHEAD
    }
}

/// The range and size of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionState {
    /// Sequence number of the oldest event in the partition; `next` if the partition is empty.
    pub begin: u64,
    /// Sequence number of the next event.
    pub next: u64,
    /// Sequence number of the last event that was appended, even if retention has removed it since. `None` if there has
    /// never been one.
    pub last: Option<u64>,
    /// When the oldest event in the partition was appended. `None` if the partition is empty.
    pub oldest: Option<Timestamp>,
    /// When the last event was appended. `None` if there has never been one.
    pub last_enqueued: Option<Timestamp>,
    /// The size of the events, in bytes.
    pub bytes: u64,
}

impl PartitionState {
    /// Returns whether the partition contains no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begin == self.next
    }
}

/// Events that the log has lost because it was restored from a backup: those that were appended after the backup. The
/// numbering continues after their sequence numbers, so a position among them can be recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEvents {
    /// The partition.
    pub partition: u16,
    /// Their sequence numbers. The end is larger than the number of any event that the log ever had.
    pub sequences: Range<u64>,
    /// When the backup was made.
    pub backup: Timestamp,
    /// When the log was restored.
    pub restored: Timestamp,
}

impl LostEvents {
    /// Returns whether a reader of the partition whose next event has this sequence number has read lost events. One that
    /// has read exactly what the backup contains has not, nor has one that begins at the first event after the restore.
    #[must_use]
    pub fn contain(&self, next: u64) -> bool {
        self.sequences.start < next && next < self.sequences.end
    }
}

/// Approximate size of an event besides its body and properties, in bytes: the row and the identity.
pub const EVENT_OVERHEAD: u64 = 128;

/// A persistent log of events in partitions.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Returns the number of partitions.
    fn partitions(&self) -> u16;

    /// Appends a batch atomically. The batch is persisted when this returns. Returns the sequence number of the
    /// partition's next event. Dropping the future does not cancel the write.
    async fn append(&self, batch: Batch) -> Result<u64, StoreError>;

    /// Appends batches atomically, in order. They are persisted when this returns. Dropping the future does not cancel
    /// the write.
    async fn append_all(&self, batches: Vec<Batch>) -> Result<(), StoreError>;

    /// Watches the head of a partition: the sequence number that its next event will get, one more than that of its
    /// last event. It changes when appended events become readable. `None` if there is no such partition.
    fn head(&self, partition: u16) -> Option<watch::Receiver<u64>>;

    /// Returns the events that the log has lost, of all partitions. They do not change while the log is open.
    fn lost_events(&self) -> &[LostEvents];

    /// Reads the events of a partition from sequence number `from` on, or from the oldest one if `from` was removed.
    /// Returns at most `max_events`, and stops once their bodies and properties reach `max_bytes`.
    async fn read(
        &self,
        partition: u16,
        from: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Returns the state of each partition, in order.
    async fn state(&self) -> Result<Vec<PartitionState>, StoreError>;

    /// Returns the sequence number of the partition's first event that was appended at `time` or later. If there is no
    /// such event, returns the number of the next event.
    async fn first_since(&self, partition: u16, time: Timestamp) -> Result<u64, StoreError>;

    /// Removes the oldest events: those that were appended before `cutoff`, and more while the log is larger than
    /// `max_bytes`. One call may remove only a part of them, so that writers are not blocked for long. Returns the
    /// number of removed events; call again until it is 0. The sequence numbers of other events stay the same.
    async fn remove_oldest(&self, cutoff: Timestamp, max_bytes: u64) -> Result<u64, StoreError>;

    /// Checks that the log works, with a small write that reaches the disk. Calls in quick succession may share one
    /// write.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Completes the accepted writes and closes the log.
    async fn close(&self);
}
