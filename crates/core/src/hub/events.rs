//! Telemetry messages from devices, and readers of the event log.

use bytes::Bytes;
use ferrohub_model::message::{EventLogInfo, MessageProperties, Partition};
use ferrohub_model::{ErrorCode, HubError};
use tracing::debug;

use super::{DeviceCaller, Hub, store_failed};
use crate::connections::Connection;
use crate::events::{
    EventIdentity, EventReader, EventSource, NewEvent, OpenReaderError, PartitionState, ReaderSlotError,
    StartPosition,
};

/// A telemetry message from a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMessage {
    /// The message's properties.
    pub properties: MessageProperties,
    /// The message's body.
    pub body: Bytes,
}

impl DeviceMessage {
    /// Returns the size that counts toward the limit: properties and body, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.properties.size() + self.body.len()
    }
}

/// A request to read events.
#[derive(Debug, Clone)]
pub struct ReadRequest<'a> {
    /// The consumer group of the reader.
    pub consumer_group: &'a str,
    /// The position to start at.
    pub from: StartPosition,
    /// The partition to read, or `None` for all partitions.
    pub partition: Option<u16>,
}

impl Connection {
    /// Returns what the events of this device or module record about it.
    #[must_use]
    pub fn event_identity(&self) -> EventIdentity {
        EventIdentity {
            id: self.id.clone(),
            generation_id: self.generation_id.clone(),
            auth: Some((&self.credential).into()),
        }
    }
}

impl DeviceCaller {
    /// Returns what the events of this device or module record about it.
    #[must_use]
    pub fn event_identity(&self) -> EventIdentity {
        EventIdentity {
            id: self.identity.id.clone(),
            generation_id: self.identity.generation_id.clone(),
            auth: Some((&self.credential).into()),
        }
    }
}

impl Hub {
    /// Returns the maximum size of a telemetry message, body and properties, in bytes.
    #[must_use]
    pub fn max_event_bytes(&self) -> usize {
        self.events.settings().event_bytes
    }

    /// Appends telemetry messages of one device to the event log, all or none. They are persisted when this returns.
    ///
    /// # Errors
    ///
    /// `MessageTooLarge` if a message exceeds [`max_event_bytes`](Self::max_event_bytes).
    pub async fn send_events(
        &self,
        identity: EventIdentity,
        messages: Vec<DeviceMessage>,
    ) -> Result<(), HubError> {
        let limit = self.max_event_bytes();
        if let Some(message) = messages.iter().find(|message| message.size() > limit) {
            let bytes = message.size();
            debug!(device = %identity.id, bytes, limit, "message rejected: too large");
            let text = format!(
                "The message with its properties has {bytes} bytes; the maximum is {limit} (events.message_bytes)."
            );
            return Err(HubError::new(ErrorCode::MessageTooLarge, text));
        }
        if messages.is_empty() {
            return Ok(());
        }
        let events = messages
            .into_iter()
            .map(|message| NewEvent { properties: message.properties.to_string(), body: message.body })
            .collect();
        self.events
            .append(EventSource::Telemetry, identity, events, self.clock.now())
            .await
            .map_err(store_failed)
    }

    /// Opens a reader of the event log.
    pub async fn read_events(&self, request: ReadRequest<'_>) -> Result<EventReader, HubError> {
        let ReadRequest { consumer_group, from, partition } = request;
        let opened =
            self.events.open_reader(consumer_group, &from, partition, self.stopping.subscribe()).await;
        opened.map_err(|error| match error {
            OpenReaderError::NoPartition => HubError::new(
                ErrorCode::GenericNotFound,
                format!(
                    "There is no partition {}. The event log has the partitions 0 to {}.",
                    partition.unwrap_or_default(),
                    self.events.partitions().saturating_sub(1)
                ),
            ),
            OpenReaderError::NoSlot(ReaderSlotError::UnknownGroup) => HubError::new(
                ErrorCode::GenericNotFound,
                format!(
                    "There is no consumer group {consumer_group}. Use $Default, or add the group to \
                     events.consumer_groups in the configuration."
                ),
            ),
            OpenReaderError::NoSlot(ReaderSlotError::Full) => HubError::new(
                ErrorCode::ThrottlingException,
                format!(
                    "The consumer group {consumer_group} has the maximum number of readers on a partition, {} \
                     (events.readers_per_group). End one of them, or use another consumer group.",
                    self.events.groups().readers_per_group()
                ),
            ),
            OpenReaderError::PositionOutOfRange(partition) => HubError::new(
                ErrorCode::ArgumentInvalid,
                format!(
                    "The position is after the end of partition {partition}; it belongs to another event log. Read \
                     from start, end or a time."
                ),
            ),
            OpenReaderError::Store(error) => store_failed(error),
        })
    }

    /// Returns the consumer groups of the event log and the current state of its partitions.
    pub async fn event_log(&self) -> Result<EventLogInfo, HubError> {
        let states = self.events.state().await.map_err(store_failed)?;
        let partitions =
            (0..).zip(states).map(|(partition, state)| partition_info(partition, &state)).collect();
        Ok(EventLogInfo { consumer_groups: self.events.groups().names().to_vec(), partitions })
    }
}

fn partition_info(partition: u16, state: &PartitionState) -> Partition {
    Partition {
        partition,
        begin_sequence_number: state.begin,
        next_sequence_number: state.next,
        last_enqueued_time: state.last_enqueued,
        is_empty: state.begin == state.next,
    }
}
