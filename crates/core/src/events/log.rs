//! The `EventLog` port: events that must survive a restart, in the order in which they were taken.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_model::message::{Event, MessageProperties};
use ferrohub_model::{IdentityId, Timestamp};
use tokio::sync::watch;

use super::{AuthMethod, EventSource};
use crate::store::StoreError;

/// Who events are from, or about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The device or module.
    pub id: IdentityId,
    /// Which of the identities that ever had this id.
    pub generation_id: String,
    /// How it proved itself, if it sent them.
    pub auth: Option<AuthMethod>,
}

/// Something to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its properties, as a well-formed [property bag](MessageProperties).
    pub properties: String,
    /// What it says.
    pub body: Bytes,
}

/// Events of one origin, to be appended together: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where to.
    pub partition: u16,
    /// What they are.
    pub source: EventSource,
    /// Whose they are.
    pub origin: Origin,
    /// When the hub took them.
    pub now: Timestamp,
    /// In their order.
    pub events: Vec<NewEvent>,
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Counts the events of its partition, from 0; its offset as well.
    pub sequence: u64,
    /// When it was appended; never before the one in front of it.
    pub enqueued: Timestamp,
    /// What it is.
    pub source: EventSource,
    /// Whose it is.
    pub origin: Origin,
    /// A property bag.
    pub properties: String,
    /// What it says.
    pub body: Vec<u8>,
}

impl Batch {
    /// How much it takes in the log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.events.iter().map(NewEvent::bytes).sum()
    }
}

impl NewEvent {
    /// How much it takes in the log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.body.len() + self.properties.len()) as u64 + EVENT_OVERHEAD
    }
}

impl StoredEvent {
    /// As readers see it.
    #[must_use]
    pub fn into_event(self, partition: u16) -> Event {
        // Only what can be read is written.
        let said = MessageProperties::parse_property_bag(&self.properties).unwrap_or_default();
        let mut system: BTreeMap<String, String> = said
            .system
            .into_iter()
            .map(|(property, value)| (property.event_name().to_owned(), value))
            .collect();
        let module = self.origin.id.module_str();
        let mut add = |name: &str, value: String| drop(system.insert(name.to_owned(), value));
        add("iothub-connection-device-id", self.origin.id.device_str().to_owned());
        if let Some(module) = module {
            add("iothub-connection-module-id", module.to_owned());
        }
        if let Some(auth) = self.origin.auth {
            add("iothub-connection-auth-method", auth.to_json(module.is_some()));
        }
        add("iothub-connection-auth-generation-id", self.origin.generation_id);
        add("iothub-enqueuedtime", self.enqueued.to_string());
        add("iothub-message-source", self.source.name().to_owned());
        Event {
            partition,
            sequence_number: self.sequence,
            offset: self.sequence.to_string(),
            enqueued_time: self.enqueued,
            system_properties: system,
            properties: said.application,
            body: self.body.into(),
        }
    }
}

/// Where a partition begins and ends, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionState {
    /// The oldest event that is still there, or the one that comes next if there is none.
    pub begin: u64,
    /// What the next event will have.
    pub next: u64,
    /// When the oldest event that is still there was appended.
    pub oldest: Option<Timestamp>,
    /// When the last event was appended, if there ever was one.
    pub last_enqueued: Option<Timestamp>,
    /// How much its events take.
    pub bytes: u64,
}

/// What an event takes besides body and properties, about: its row and what it says of its sender.
pub const EVENT_OVERHEAD: u64 = 128;

/// A durable log of events in partitions.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// How many partitions it has.
    fn partitions(&self) -> u16;

    /// Appends a batch; it is on disk when this returns. What the partition's next event will have. A caller that stops
    /// waiting does not stop the write.
    async fn append(&self, batch: Batch) -> Result<u64, StoreError>;

    /// Appends batches in one step, in their order: all of them or none. They are on disk when this returns. A caller that
    /// stops waiting does not stop the write.
    async fn append_all(&self, batches: Vec<Batch>) -> Result<(), StoreError>;

    /// What the next event of a partition will have, told anew whenever events were appended and can be read. `None` if
    /// there is no such partition.
    fn head(&self, partition: u16) -> Option<watch::Receiver<u64>>;

    /// The events of a partition from `from` on, or from the first that is still there: at most `max_events`, and no
    /// more once they have `max_bytes`.
    async fn read(
        &self,
        partition: u16,
        from: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Where each partition begins and ends, in their order.
    async fn state(&self) -> Result<Vec<PartitionState>, StoreError>;

    /// The first event of a partition that was appended at `time` or later, or what its next one will have.
    async fn first_since(&self, partition: u16, time: Timestamp) -> Result<u64, StoreError>;

    /// Removes events from before `time`, and the oldest ones while the log is larger than `max_bytes`: not all at
    /// once, for others want to write. How many; 0 when there is nothing left to remove. What partitions count goes on
    /// as if nothing had been removed.
    async fn trim(&self, time: Timestamp, max_bytes: u64) -> Result<u64, StoreError>;

    /// Finishes what was accepted and closes.
    async fn close(&self);
}
