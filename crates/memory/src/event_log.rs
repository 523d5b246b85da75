//! The event log in memory.

mod partition;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ferrohub_core::store::StoreError;
use ferrohub_core::telemetry::{Batch, EventLog, LostEvents, PartitionState, StoredEvent};
use ferrohub_model::Timestamp;
use tokio::sync::watch;
use tokio::task::yield_now;

use partition::Partition;

/// Maximum number of events that one call of [`EventLog::remove_oldest`] removes.
const MAX_REMOVED_EVENTS: usize = 500;

/// An event log in memory.
#[derive(Debug)]
pub struct MemoryEventLog {
    content: Mutex<Content>,
    /// The sequence number of the next event of each partition.
    heads: Vec<watch::Sender<u64>>,
}

#[derive(Debug)]
struct Content {
    partitions: Vec<Partition>,
    is_closed: bool,
}

/// A partition that the log does not have.
#[derive(Debug, thiserror::Error)]
#[error("the event log has no partition {0}")]
struct UnknownPartition(u16);

impl MemoryEventLog {
    /// Creates an empty log with this number of partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self::with_partitions((0..partitions).map(|_| Partition::default()).collect())
    }

    /// Returns an open log with the events that this one has now: what a new process would find.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self::with_partitions(self.lock().partitions.clone())
    }

    fn with_partitions(partitions: Vec<Partition>) -> Self {
        let heads = partitions.iter().map(|partition| watch::Sender::new(partition.state().next)).collect();
        Self { content: Mutex::new(Content { partitions, is_closed: false }), heads }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the partitions.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Vec<Partition>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut content = self.lock();
        if content.is_closed { Err(StoreError::Closed) } else { work(&mut content.partitions) }
    }

    /// Appends all batches, or none if one of them is for an unknown partition. Returns the sequence number after each.
    fn append_now(&self, batches: Vec<Batch>) -> Result<Vec<u64>, StoreError> {
        self.with(|partitions| {
            for batch in &batches {
                of(partitions, batch.partition)?;
            }
            let append = |batch: Batch| {
                let number = batch.partition;
                let next = of(partitions, number)?.append(batch);
                if let Some(head) = self.heads.get(usize::from(number)) {
                    head.send_replace(next);
                }
                Ok(next)
            };
            batches.into_iter().map(append).collect()
        })
    }
}

fn of(partitions: &mut [Partition], partition: u16) -> Result<&mut Partition, StoreError> {
    partitions
        .get_mut(usize::from(partition))
        .ok_or_else(|| StoreError::Failed(Box::new(UnknownPartition(partition))))
}

#[async_trait]
impl EventLog for MemoryEventLog {
    fn partitions(&self) -> u16 {
        u16::try_from(self.heads.len()).unwrap_or(u16::MAX)
    }

    async fn append(&self, batch: Batch) -> Result<u64, StoreError> {
        let appended = self.append_now(vec![batch]);
        yield_now().await;
        appended.map(|ends| ends.into_iter().next_back().unwrap_or(0))
    }

    async fn append_all(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let appended = self.append_now(batches);
        yield_now().await;
        appended.map(drop)
    }

    fn head(&self, partition: u16) -> Option<watch::Receiver<u64>> {
        self.heads.get(usize::from(partition)).map(watch::Sender::subscribe)
    }

    fn lost_events(&self) -> &[LostEvents] {
        &[]
    }

    async fn read(
        &self,
        partition: u16,
        from: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let read = |partition: &Partition| partition.read(from, max_events, max_bytes);
        self.with(|partitions| Ok(partitions.get(usize::from(partition)).map(read).unwrap_or_default()))
    }

    async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
        self.with(|partitions| Ok(partitions.iter().map(Partition::state).collect()))
    }

    async fn first_since(&self, partition: u16, time: Timestamp) -> Result<u64, StoreError> {
        self.with(|partitions| Ok(of(partitions, partition)?.first_since(time)))
    }

    async fn remove_oldest(&self, cutoff: Timestamp, max_bytes: u64) -> Result<u64, StoreError> {
        let removed = self.with(|partitions| Ok(remove_oldest(partitions, cutoff, max_bytes)));
        yield_now().await;
        removed
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.with(|_| Ok(()))
    }

    async fn close(&self) {
        self.lock().is_closed = true;
    }
}

/// Removes the oldest event of the log again and again, at most [`MAX_REMOVED_EVENTS`] times.
fn remove_oldest(partitions: &mut [Partition], cutoff: Timestamp, max_bytes: u64) -> u64 {
    let mut removed = 0;
    for _ in 0..MAX_REMOVED_EVENTS {
        let is_too_large =
            partitions.iter().map(|partition| partition.state().bytes).sum::<u64>() > max_bytes;
        let age = |partition: &&mut Partition| partition.state().oldest;
        let Some(oldest) = partitions.iter_mut().filter(|partition| age(partition).is_some()).min_by_key(age)
        else {
            break;
        };
        if !is_too_large && age(&oldest).is_none_or(|appended| appended >= cutoff) {
            break;
        }
        oldest.remove_first();
        removed += 1;
    }
    removed
}
