//! The state of a hub in memory: the port `Store`, one file for each part of the port.

mod changes;
mod configurations;
mod connections;
mod feedback;
mod files;
mod import_export;
mod jobs;
mod leases;
mod messages;
mod notifications;
mod queries;
mod registry;
mod settings;
mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ferrohub_core::import_export::{JobProgress, JobRun};
use ferrohub_core::store::{ChangeGroup, Outcomes, RecordFn, Store, StoreError};
use tokio::task::yield_now;

use state::State;

/// The state of a hub in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    state: State,
    is_closed: bool,
    calls: u64,
}

impl MemoryStore {
    /// Returns an open store with the state that this one has now: what a new process would find.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self(Mutex::new(Content { state: self.lock().state.clone(), ..Content::default() }))
    }

    /// Returns the number of reads and writes since the store was opened.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state at once, and answers later.
    async fn read<T>(&self, work: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        let read = {
            let mut content = self.lock();
            content.calls += 1;
            if content.is_closed { Err(StoreError::Closed) } else { Ok(work(&content.state)) }
        };
        yield_now().await;
        read
    }

    /// Changes the state at once, and answers later.
    async fn write<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let written = {
            let mut content = self.lock();
            content.calls += 1;
            if content.is_closed { Err(StoreError::Closed) } else { Ok(work(&mut content.state)) }
        };
        yield_now().await;
        written
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn apply(&self, groups: Vec<ChangeGroup>) -> Result<Outcomes, StoreError> {
        self.write(|state| groups.into_iter().map(|group| state.apply(group)).collect()).await
    }

    async fn apply_for_job(
        &self,
        groups: Vec<ChangeGroup>,
        run: &JobRun,
        record: RecordFn,
    ) -> Result<Option<(Outcomes, JobProgress)>, StoreError> {
        self.write(|state| {
            state.job_of_run(run)?;
            let outcomes: Outcomes = groups.into_iter().map(|group| state.apply(group)).collect();
            let record = record(&outcomes);
            let progress = record.progress.clone();
            state.record_run(run, record);
            Some((outcomes, progress))
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write(|_| ()).await
    }

    async fn close(&self) {
        self.lock().is_closed = true;
    }
}
