//! An event log for tests, which control when its writes complete.

use std::sync::Mutex;

use async_trait::async_trait;
use ferrohub_model::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::StoredEvent;
use super::log::{Batch, EventLog, LostEvents, PartitionState};
use crate::store::StoreError;

/// An event log whose writes each need one permit of `disk`.
pub(crate) struct SlowLog {
    pub(crate) disk: Semaphore,
    pub(crate) written: Mutex<Vec<Batch>>,
    head: watch::Sender<u64>,
    lost: Vec<LostEvents>,
}

impl SlowLog {
    pub(crate) fn new() -> Self {
        Self::restored(0, Vec::new())
    }

    /// A log that was restored from a backup. The next event of each partition gets the number `next`.
    pub(crate) fn restored(next: u64, lost: Vec<LostEvents>) -> Self {
        Self { disk: Semaphore::new(0), written: Mutex::default(), head: watch::Sender::new(next), lost }
    }

    pub(crate) fn count(&self) -> usize {
        self.written.lock().unwrap().len()
    }
}

#[async_trait]
impl EventLog for SlowLog {
    fn partitions(&self) -> u16 {
        2
    }
    async fn append(&self, batch: Batch) -> Result<u64, StoreError> {
        self.append_all(vec![batch]).await.map(|()| 0)
    }
    async fn append_all(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.disk.acquire().await.unwrap().forget();
        self.written.lock().unwrap().extend(batches);
        Ok(())
    }
    fn head(&self, partition: u16) -> Option<watch::Receiver<u64>> {
        (partition < 2).then(|| self.head.subscribe())
    }
    fn lost_events(&self) -> &[LostEvents] {
        &self.lost
    }
    async fn read(&self, _: u16, _: u64, _: usize, _: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }
    async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
        Ok(Vec::new())
    }
    async fn first_since(&self, _: u16, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn remove_oldest(&self, _: Timestamp, _: u64) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn close(&self) {}
}
