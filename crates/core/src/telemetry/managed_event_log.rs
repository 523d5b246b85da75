//! The event log as the hub uses it: the port [`EventLog`], which only stores and reads, together with the rules that
//! are the same for every adapter. These are the choice of the partition, consumer groups, retention, the limit of
//! events in flight, metrics, and the warning about a clock that is behind.

use std::sync::Arc;

use ferrohub_model::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::clock_watch::ClockWatch;
use super::consumer_groups::{ConsumerGroups, ReaderSlotError};
use super::log::{Batch, EventIdentity, EventLog, LostEvents, NewEvent, PartitionState};
use super::partition_of;
use super::position::StartPosition;
use super::reader::{Cursor, EventReader};
use super::retention::{Retention, RetentionJob};
use super::settings::{EventSettings, EventSource};
use crate::background::{Stop, TaskLease};
use crate::clock::Clock;
use crate::metrics::{EventMetrics, Metrics, Outcomes};
use crate::store::StoreError;
use crate::uncancelled::complete_when_cancelled;

/// Why a reader cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenReaderError {
    #[error("the log has no such partition")]
    NoPartition,
    #[error("the consumer group has no reader slot for it")]
    NoSlot(ReaderSlotError),
    #[error("the position is after the end of partition {0}")]
    PositionOutOfRange(u16),
    #[error("the events before the position were lost")]
    PositionLost(LostEvents),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Maximum size of the events whose write is in progress, in bytes. Beyond it, appends wait.
const IN_FLIGHT_BYTES: u32 = 64 << 20;

/// Events of one identity and one source to append. The log adds the partition, which makes it a [`Batch`].
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) source: EventSource,
    pub(crate) identity: EventIdentity,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) now: Timestamp,
}

/// An [`EventLog`] with its settings, consumer groups, retention and metrics.
pub(crate) struct ManagedEventLog {
    log: Arc<dyn EventLog>,
    settings: EventSettings,
    groups: Arc<ConsumerGroups>,
    retention: Arc<Retention>,
    metrics: EventMetrics,
    panics: Outcomes,
    in_flight: Semaphore,
    clock_watch: ClockWatch,
}

impl ManagedEventLog {
    pub(crate) fn new(log: Arc<dyn EventLog>, settings: EventSettings, metrics: &Metrics) -> Self {
        let (metrics, panics) = (metrics.events.clone(), metrics.panics.clone());
        let groups = ConsumerGroups::new(
            &settings.consumer_groups,
            settings.readers_per_group,
            metrics.readers.clone(),
            metrics.stolen_readers.clone(),
        );
        Self {
            log,
            settings,
            groups: Arc::new(groups),
            retention: Arc::default(),
            metrics,
            panics,
            in_flight: Semaphore::new(IN_FLIGHT_BYTES as usize),
            clock_watch: ClockWatch::default(),
        }
    }

    /// Logs a warning if the clock is behind the stored events.
    pub(crate) async fn check_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        let newest =
            self.log.state().await?.into_iter().filter_map(|partition| partition.last_enqueued).max();
        if let Some(newest) = newest {
            self.clock_watch.record_stored(newest);
        }
        self.clock_watch.check(now);
        Ok(())
    }

    /// Returns the retention task, which removes old events until it is stopped.
    pub(crate) fn run_retention(
        &self,
        clock: Arc<dyn Clock>,
        lease: Arc<TaskLease>,
        stop: Stop,
    ) -> impl Future<Output = ()> + Send + use<> {
        let job = RetentionJob {
            log: self.log.clone(),
            settings: self.settings.clone(),
            clock,
            removed_events: self.metrics.removed.clone(),
            lease,
        };
        self.retention.clone().run(job, stop)
    }

    pub(crate) fn partitions(&self) -> u16 {
        self.log.partitions()
    }

    pub(crate) fn settings(&self) -> &EventSettings {
        &self.settings
    }

    pub(crate) fn groups(&self) -> &ConsumerGroups {
        &self.groups
    }

    /// Appends events of one identity atomically. They are persisted when this returns.
    pub(crate) async fn append(
        self: &Arc<Self>,
        source: EventSource,
        identity: EventIdentity,
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let batch = self.batch(Entry { source, identity, events, now });
        let (count, bytes) = (batch.events.len() as u64, batch.bytes());
        let this = self.clone();
        complete_when_cancelled(&self.panics, async move {
            let _permit = this.acquire_in_flight(bytes).await?;
            this.log.append(batch).await?;
            this.record_appended(source, count, bytes);
            Ok(())
        })
        .await
    }

    /// Appends events of several identities atomically, in order.
    pub(crate) async fn append_all(self: &Arc<Self>, entries: Vec<Entry>) -> Result<(), StoreError> {
        let batches: Vec<Batch> = entries.into_iter().map(|entry| self.batch(entry)).collect();
        let sizes: Vec<_> =
            batches.iter().map(|batch| (batch.source, batch.events.len() as u64, batch.bytes())).collect();
        let this = self.clone();
        complete_when_cancelled(&self.panics, async move {
            let _permit = this.acquire_in_flight(sizes.iter().map(|(_, _, bytes)| bytes).sum()).await?;
            this.log.append_all(batches).await?;
            for (source, count, bytes) in sizes {
                this.record_appended(source, count, bytes);
            }
            Ok(())
        })
        .await
    }

    fn batch(&self, Entry { source, identity, events, now }: Entry) -> Batch {
        self.clock_watch.check(now);
        let partition = partition_of(identity.id.device_str(), self.log.partitions());
        Batch { partition, source, identity, now, events }
    }

    /// Waits until `bytes` more may be in flight. The permit is held during the write.
    async fn acquire_in_flight(&self, bytes: u64) -> Result<SemaphorePermit<'_>, StoreError> {
        // A batch larger than the limit takes all permits and is written alone.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(IN_FLIGHT_BYTES);
        self.in_flight.acquire_many(bytes).await.map_err(|_| StoreError::Closed)
    }

    fn record_appended(&self, source: EventSource, count: u64, bytes: u64) {
        self.metrics.record_appended(source.name(), count, bytes);
        self.retention.record_appended(bytes);
    }

    /// Opens a reader of one partition, or of all if `partition` is `None`. It starts at `from`, and takes one slot of
    /// the consumer group on each of its partitions. With an owner level, it disconnects the readers that have them.
    pub(crate) async fn open_reader(
        &self,
        group: &str,
        from: &StartPosition,
        partition: Option<u16>,
        owner_level: Option<i64>,
        stopping: watch::Receiver<bool>,
    ) -> Result<EventReader, OpenReaderError> {
        let partitions = match partition {
            Some(partition) => vec![partition],
            None => (0..self.log.partitions()).collect(),
        };
        if partition.is_some_and(|partition| partition >= self.log.partitions()) {
            return Err(OpenReaderError::NoPartition);
        }
        // `After` holds a sequence number for each partition of which an earlier reader has read something. A number
        // for a partition that does not exist is out of range, too.
        if let StartPosition::After(position) = from
            && let Some(unknown) = position.0.keys().find(|partition| **partition >= self.log.partitions())
        {
            return Err(OpenReaderError::PositionOutOfRange(*unknown));
        }
        let mut cursors = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            let head = self.log.head(*partition).ok_or(OpenReaderError::NoPartition)?;
            // The head now: the number after that of the last event. Later appends only increase it.
            let end = *head.borrow();
            let next = match from {
                StartPosition::Start => 0,
                StartPosition::End => end,
                StartPosition::Time(time) => self.log.first_since(*partition, *time).await?,
                // No entry: nothing of this partition was read, so read it from its oldest event.
                StartPosition::After(position) => position.0.get(partition).copied().unwrap_or(0),
            };
            // A position after the end was obtained from another log.
            if next > end {
                return Err(OpenReaderError::PositionOutOfRange(*partition));
            }
            if let StartPosition::After(_) = from
                && let Some(lost) = self.lost_events_at(*partition, next)
            {
                return Err(OpenReaderError::PositionLost(lost.clone()));
            }
            cursors.push(Cursor { partition: *partition, next, head });
        }
        let slot = self.groups.acquire(group, partitions, owner_level).map_err(OpenReaderError::NoSlot)?;
        Ok(EventReader::new(self.log.clone(), cursors, stopping, slot))
    }

    /// Returns the lost events that a reader at this position has read. To continue there would skip the events that the
    /// log has under their sequence numbers, or wait for ever.
    fn lost_events_at(&self, partition: u16, next: u64) -> Option<&LostEvents> {
        self.log.lost_events().iter().find(|lost| lost.partition == partition && lost.contain(next))
    }

    /// Returns the state of each partition, in order.
    pub(crate) async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
        self.log.state().await
    }

    /// Checks that the log can be written to, for readiness. See [`EventLog::ping`].
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.log.ping().await
    }

    /// Completes the accepted writes and closes the log.
    pub(crate) async fn close(&self) {
        self.log.close().await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ferrohub_model::IdentityId;
    use futures_util::FutureExt as _;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::telemetry::EventProperties;
    use crate::telemetry::fake::SlowLog;
    use crate::telemetry::position::Position;

    fn managed_event_log(slow_log: &Arc<SlowLog>) -> Arc<ManagedEventLog> {
        Arc::new(ManagedEventLog::new(
            slow_log.clone(),
            EventSettings::default(),
            &Metrics::register(&mut Registry::default()),
        ))
    }

    async fn append(log: &Arc<ManagedEventLog>, bytes: usize) -> Result<(), StoreError> {
        let id = IdentityId::parse("d").unwrap();
        let identity = EventIdentity { id, generation_id: String::new(), auth: None };
        let event = NewEvent { properties: EventProperties::new(), body: Bytes::from(vec![0; bytes]) };
        let now = Timestamp::from_unix_seconds(1);
        log.append(EventSource::Telemetry, identity, vec![event], now).await
    }

    #[tokio::test]
    async fn an_append_is_counted_even_if_the_caller_is_cancelled() {
        let slow_log = Arc::new(SlowLog::new());
        let log = managed_event_log(&slow_log);
        assert!(append(&log, 10).now_or_never().is_none());
        slow_log.disk.add_permits(1);
        while log.retention.appended() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slow_log.count(), 1);
    }

    #[tokio::test]
    async fn the_number_of_bytes_in_flight_is_limited() {
        let slow_log = Arc::new(SlowLog::new());
        let log = managed_event_log(&slow_log);
        let size = IN_FLIGHT_BYTES as usize / 4 * 3;
        for _ in 0..3 {
            let log = log.clone();
            tokio::spawn(async move { append(&log, size).await.unwrap() });
        }
        let run_ready_tasks = async || {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        };
        run_ready_tasks().await;
        assert!((log.in_flight.available_permits() as u32) < IN_FLIGHT_BYTES / 4);
        for written in 1..=3 {
            slow_log.disk.add_permits(1);
            run_ready_tasks().await;
            assert_eq!(slow_log.count(), written);
        }
        assert_eq!(log.in_flight.available_permits(), IN_FLIGHT_BYTES as usize);
        // An event larger than the limit is written alone.
        slow_log.disk.add_permits(1);
        append(&log, IN_FLIGHT_BYTES as usize + 1).await.unwrap();
    }

    #[tokio::test]
    async fn a_position_in_an_unknown_partition_is_out_of_range() {
        let log = managed_event_log(&Arc::new(SlowLog::new()));
        let stopping = watch::Sender::new(false);
        let group = ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
        for (partition, fits) in [(1, true), (2, false), (9, false)] {
            let from = StartPosition::After(Position([(partition, 0)].into()));
            let opened = log.open_reader(group, &from, None, None, stopping.subscribe()).await;
            match opened {
                Ok(_) => assert!(fits, "{partition}"),
                Err(OpenReaderError::PositionOutOfRange(out_of_range)) => {
                    assert!(!fits && out_of_range == partition)
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[tokio::test]
    async fn a_position_among_lost_events_is_refused_and_others_are_not() {
        let lost = LostEvents {
            partition: 1,
            sequences: 10..1000,
            backup: Timestamp::from_unix_seconds(1),
            restored: Timestamp::from_unix_seconds(2),
        };
        let log = managed_event_log(&Arc::new(SlowLog::restored(2000, vec![lost.clone()])));
        let stopping = watch::Sender::new(false);
        let group = ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
        let open = async |from: &StartPosition, partition| {
            log.open_reader(group, from, partition, None, stopping.subscribe()).await.err()
        };
        // 10: has read what the backup contains. 1000: begins at the first event after the restore.
        for (next, is_lost) in
            [(0, false), (10, false), (11, true), (500, true), (999, true), (1000, false), (1500, false)]
        {
            let from = StartPosition::After(Position([(1, next)].into()));
            for partition in [Some(1), None] {
                match open(&from, partition).await {
                    Some(OpenReaderError::PositionLost(found)) => assert!(is_lost && found == lost, "{next}"),
                    None => assert!(!is_lost, "{next}"),
                    Some(other) => panic!("{other}"),
                }
            }
            let elsewhere = StartPosition::After(Position([(0, next)].into()));
            assert!(open(&elsewhere, Some(0)).await.is_none(), "{next}");
        }
        for from in
            [StartPosition::Start, StartPosition::End, StartPosition::Time(Timestamp::from_unix_seconds(1))]
        {
            assert!(open(&from, None).await.is_none(), "{from:?}");
        }
    }

    #[tokio::test]
    async fn a_reader_of_an_unknown_partition_is_refused_whatever_its_position() {
        let log = managed_event_log(&Arc::new(SlowLog::new()));
        let stopping = watch::Sender::new(false);
        let group = ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
        for from in [StartPosition::Start, StartPosition::End, StartPosition::at_sequence(2, 0, true)] {
            let opened = log.open_reader(group, &from, Some(2), None, stopping.subscribe()).await;
            assert!(matches!(opened.err(), Some(OpenReaderError::NoPartition)), "{from:?}");
        }
    }
}
