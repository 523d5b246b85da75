//! Readers of the event log, and its state.

use ferrohub_model::message::{EventLogInfo, Partition};
use ferrohub_model::{ErrorCode, HubError};

use super::{EventReader, OpenReaderError, PartitionState, ReaderSlotError, StartPosition};
use crate::callers::ServiceCaller;
use crate::operations::Operation;
use crate::store::store_failed;

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

impl ServiceCaller {
    /// Opens a reader of the event log.
    pub async fn read_events(&self, request: ReadRequest<'_>) -> Result<EventReader, HubError> {
        let hub = self.permit(Operation::ReadEvents)?;
        let ReadRequest { consumer_group, from, partition } = request;
        let opened = hub.events.open_reader(consumer_group, &from, partition, hub.stopping.subscribe()).await;
        opened.map_err(|error| match error {
            OpenReaderError::NoPartition => HubError::new(
                ErrorCode::GenericNotFound,
                format!(
                    "There is no partition {}. The event log has the partitions 0 to {}.",
                    partition.unwrap_or_default(),
                    hub.events.partitions().saturating_sub(1)
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
                    hub.events.groups().readers_per_group()
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
    pub async fn get_event_log(&self) -> Result<EventLogInfo, HubError> {
        let hub = self.permit(Operation::GetEventLog)?;
        let states = hub.events.state().await.map_err(store_failed)?;
        let partitions =
            (0..).zip(states).map(|(partition, state)| partition_info(partition, &state)).collect();
        Ok(EventLogInfo { consumer_groups: hub.events.groups().names().to_vec(), partitions })
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
