//! Readers of the event log, and its state.

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
    /// The owner level (Azure: epoch). A reader with one disconnects the readers of the group on its partitions that have
    /// none, a lower or the same one.
    pub owner_level: Option<i64>,
}

/// The consumer groups of the event log and the current state of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLogState {
    /// The consumer groups.
    pub consumer_groups: Vec<String>,
    /// The partitions, in the order of their numbers from 0.
    pub partitions: Vec<PartitionState>,
}

impl ServiceCaller {
    /// Opens a reader of the event log.
    ///
    /// # Errors
    ///
    /// `GenericConflict` if a reader with a higher owner level reads a partition; `GenericNotFound` for an unknown
    /// partition or consumer group; `ThrottlingException` if the group has too many readers; `ArgumentInvalid` if the
    /// position is after the end, or among events that the log has lost.
    pub async fn read_events(&self, request: ReadRequest<'_>) -> Result<EventReader, HubError> {
        let hub = self.permit(Operation::ReadEvents)?;
        let ReadRequest { consumer_group, from, partition, owner_level } = request;
        self.check_events(consumer_group, partition)?;
        let stopping = hub.stopping.subscribe();
        let opened = hub.events.open_reader(consumer_group, &from, partition, owner_level, stopping).await;
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
            OpenReaderError::NoSlot(ReaderSlotError::Owned { partition, owner_level }) => HubError::new(
                ErrorCode::GenericConflict,
                format!(
                    "A reader of the consumer group {consumer_group} with the owner level (epoch) {owner_level} reads \
                     partition {partition}, so a reader with a lower owner level or none is not allowed. End it, read \
                     with at least this owner level, or use another consumer group."
                ),
            ),
            OpenReaderError::PositionOutOfRange(partition) => HubError::new(
                ErrorCode::ArgumentInvalid,
                format!(
                    "The position is after the end of partition {partition}; it belongs to another event log. Read \
                     from start, end or a time."
                ),
            ),
            OpenReaderError::PositionLost(lost) => HubError::new(
                ErrorCode::ArgumentInvalid,
                format!(
                    "The position belongs to events of partition {} that the hub no longer has: it was restored at {} \
                     from a backup of {}. Read from start, end or a time, such as that of the restore.",
                    lost.partition, lost.restored, lost.backup
                ),
            ),
            OpenReaderError::Store(error) => store_failed(error),
        })
    }

    /// Returns the consumer groups of the event log and the current state of its partitions.
    pub async fn get_event_log(&self) -> Result<EventLogState, HubError> {
        let hub = self.permit(Operation::GetEventLog)?;
        let partitions = hub.events.state().await.map_err(store_failed)?;
        Ok(EventLogState { consumer_groups: hub.events.groups().names().to_vec(), partitions })
    }
}
