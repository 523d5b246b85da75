//! The log as the hub uses it: with its settings, its groups of readers and the one who trims it.

use std::sync::Arc;

use ferrohub_model::Timestamp;
use tokio::sync::watch;

use super::groups::{Groups, NoSeat};
use super::log::{Batch, EventLog, NewEvent, Origin, PartitionState};
use super::partition_of;
use super::position::StartPosition;
use super::reader::{Cursor, EventReader};
use super::settings::{EventSettings, EventSource};
use super::trimmer::Trimmer;
use crate::clock::Clock;
use crate::metrics::{EventMetrics, Metrics};
use crate::store::StoreError;

/// Why a reader cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error("the log has no such partition")]
    NoPartition,
    #[error("the group has no place")]
    NoSeat(NoSeat),
    #[error("partition {0} has not come that far")]
    Beyond(u16),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The log with all that belongs to it.
pub(crate) struct Shelf {
    log: Arc<dyn EventLog>,
    settings: EventSettings,
    groups: Arc<Groups>,
    trimmer: Arc<Trimmer>,
    metrics: EventMetrics,
}

impl Shelf {
    pub(crate) fn new(log: Arc<dyn EventLog>, settings: EventSettings, metrics: &Metrics) -> Self {
        let metrics = metrics.events.clone();
        let groups =
            Groups::new(&settings.consumer_groups, settings.readers_per_group, metrics.readers.clone());
        Self { log, settings, groups: Arc::new(groups), trimmer: Arc::default(), metrics }
    }

    /// Trims until the hub stops; to be run beside everything else.
    pub(crate) fn keep_trimmed(
        &self,
        clock: Arc<dyn Clock>,
        stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let trimmed = self.metrics.trimmed.clone();
        self.trimmer.clone().run(self.log.clone(), self.settings.clone(), clock, trimmed, stopping)
    }

    pub(crate) fn settings(&self) -> &EventSettings {
        &self.settings
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Appends events of one origin; they are on disk when this returns.
    pub(crate) async fn append(
        &self,
        source: EventSource,
        origin: Origin,
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let partition = partition_of(origin.id.device_str(), self.log.partitions());
        let batch = Batch { partition, source, origin, now, events };
        let (count, bytes) = (batch.events.len() as u64, batch.bytes());
        self.log.append(batch).await?;
        self.metrics.taken(source, count, bytes);
        self.trimmer.grown(bytes);
        Ok(())
    }

    /// A reader of one partition, or of all.
    pub(crate) async fn open(
        &self,
        group: &str,
        from: &StartPosition,
        partition: Option<u16>,
        stopping: watch::Receiver<bool>,
    ) -> Result<EventReader, NotOpened> {
        let partitions = match partition {
            Some(partition) => vec![partition],
            None => (0..self.log.partitions()).collect(),
        };
        let mut cursors = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            let head = self.log.head(*partition).ok_or(NotOpened::NoPartition)?;
            let end = *head.borrow();
            let next = match from {
                StartPosition::Start => 0,
                StartPosition::End => end,
                StartPosition::Time(time) => self.log.first_since(*partition, *time).await?,
                StartPosition::Behind(seen) => seen.0.get(partition).copied().unwrap_or(0),
            };
            // Events that are not there yet: the reader means another log.
            if next > end {
                return Err(NotOpened::Beyond(*partition));
            }
            cursors.push(Cursor { partition: *partition, next, head });
        }
        let seat = self.groups.sit(group, partitions).map_err(NotOpened::NoSeat)?;
        Ok(EventReader::new(self.log.clone(), cursors, stopping, seat))
    }

    pub(crate) async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
        self.log.state().await
    }

    pub(crate) async fn close(&self) {
        self.log.close().await;
    }
}
