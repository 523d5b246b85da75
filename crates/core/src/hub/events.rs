//! What devices send, and who reads it.

use bytes::Bytes;
use ferrohub_model::message::{EventLogInfo, MessageProperties, Partition};
use ferrohub_model::{ErrorCode, HubError};
use tracing::debug;

use super::{DeviceCaller, Hub, store_failed};
use crate::connections::Connection;
use crate::events::{
    EventReader, EventSource, NewEvent, OpenReaderError, Origin, PartitionState, ReaderSlotError,
    StartPosition,
};

/// Something a device sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMessage {
    /// What it says about itself.
    pub properties: MessageProperties,
    /// What it says.
    pub body: Bytes,
}

impl DeviceMessage {
    /// How much of the limit it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.properties.size() + self.body.len()
    }
}

/// What somebody wants to read.
#[derive(Debug, Clone)]
pub struct ReadRequest<'a> {
    /// On behalf of which group.
    pub consumer_group: &'a str,
    /// From where on.
    pub from: StartPosition,
    /// Of which partition; `None`: of all.
    pub partition: Option<u16>,
}

impl Connection {
    /// The device or module, as the sender of events.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            id: self.id.clone(),
            generation_id: self.generation_id.clone(),
            auth: Some((&self.credential).into()),
        }
    }
}

impl DeviceCaller {
    /// The device or module, as the sender of events.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            id: self.identity.id.clone(),
            generation_id: self.identity.generation_id.clone(),
            auth: Some((&self.credential).into()),
        }
    }
}

impl Hub {
    /// The largest message that a device may send, body and properties, in bytes.
    #[must_use]
    pub fn max_event_bytes(&self) -> usize {
        self.events.settings().event_bytes
    }

    /// Takes messages of one device, all of them or none; they are on disk when this returns.
    pub async fn send_events(&self, origin: Origin, messages: Vec<DeviceMessage>) -> Result<(), HubError> {
        let limit = self.max_event_bytes();
        if let Some(message) = messages.iter().find(|message| message.size() > limit) {
            debug!(device = %origin.id, bytes = message.size(), "a message is too large");
            let text = format!("A message with its properties takes at most {limit} bytes.");
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
            .append(EventSource::Telemetry, origin, events, self.clock.now())
            .await
            .map_err(store_failed)
    }

    /// Begins to read the event log.
    pub async fn read_events(&self, request: ReadRequest<'_>) -> Result<EventReader, HubError> {
        let ReadRequest { consumer_group, from, partition } = request;
        let opened =
            self.events.open_reader(consumer_group, &from, partition, self.stopping.subscribe()).await;
        opened.map_err(|error| match error {
            OpenReaderError::NoPartition => HubError::new(
                ErrorCode::GenericNotFound,
                format!("There is no partition {}.", partition.unwrap_or_default()),
            ),
            OpenReaderError::NoSlot(ReaderSlotError::UnknownGroup) => HubError::new(
                ErrorCode::GenericNotFound,
                format!("There is no consumer group {consumer_group}."),
            ),
            OpenReaderError::NoSlot(ReaderSlotError::Full) => HubError::new(
                ErrorCode::ThrottlingException,
                format!(
                    "The consumer group {consumer_group} has {} readers, as many as it may.",
                    self.events.groups().readers_per_partition()
                ),
            ),
            OpenReaderError::PositionOutOfRange(partition) => HubError::new(
                ErrorCode::ArgumentInvalid,
                format!("The position lies behind the end of partition {partition}: it is of another log."),
            ),
            OpenReaderError::Store(error) => store_failed(error),
        })
    }

    /// The event log as it is now.
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
