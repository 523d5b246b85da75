//! Import and export jobs.

use std::collections::BTreeMap;

use async_trait::async_trait;
use ferrohub_core::import_export::{DeferredLine, ImportExportStore, Job, JobRecord, JobRun, NewJobOutcome};
use ferrohub_core::registry::Identity;
use ferrohub_core::store::StoreError;
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::import_export::JobStatus;
use ferrohub_model::{IdentityId, Timestamp};

use super::MemoryStore;
use super::state::State;

/// A job, and what only a running one has.
#[derive(Debug, Clone)]
pub(super) struct StoredJob {
    job: Job,
    errors: Vec<String>,
    deferred: BTreeMap<u64, String>,
}

impl StoredJob {
    fn end(&mut self, status: JobStatus, failure: Option<&str>, now: Timestamp) {
        self.job.status = status;
        self.job.failure = failure.map(str::to_owned);
        self.job.ended = Some(now);
        self.errors.clear();
        self.deferred.clear();
    }
}

impl State {
    fn stored_job(&mut self, id: &str) -> Option<&mut StoredJob> {
        self.jobs.iter_mut().find(|stored| stored.job.id == id)
    }

    /// Returns the job of a run, if the run is its present one.
    pub(super) fn job_of_run(&mut self, run: &JobRun) -> Option<&mut StoredJob> {
        let is_current = |stored: &&mut StoredJob| stored.job.ended.is_none() && stored.job.run == run.run;
        self.stored_job(&run.job).filter(is_current)
    }

    pub(super) fn record_run(&mut self, run: &JobRun, record: JobRecord) -> bool {
        let Some(stored) = self.job_of_run(run) else { return false };
        stored.job.progress = record.progress;
        stored.errors.extend(record.errors);
        stored.deferred.extend(record.deferred.into_iter().map(|line| (line.number, line.text)));
        for number in record.resolved {
            stored.deferred.remove(&number);
        }
        true
    }
}

#[async_trait]
impl ImportExportStore for MemoryStore {
    async fn create_import_export_job(&self, job: &Job, limit: u32) -> Result<NewJobOutcome, StoreError> {
        self.write(|state| {
            let active = state.jobs.iter().filter(|stored| stored.job.ended.is_none()).count();
            if active >= limit as usize {
                return NewJobOutcome::Full;
            }
            let (errors, deferred) = (Vec::new(), BTreeMap::new());
            state.jobs.push(StoredJob { job: job.clone(), errors, deferred });
            NewJobOutcome::Created
        })
        .await
    }

    async fn import_export_job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        self.read(|state| {
            state.jobs.iter().find(|stored| stored.job.id == id).map(|stored| stored.job.clone())
        })
        .await
    }

    async fn import_export_jobs(&self, top: usize) -> Result<Vec<Job>, StoreError> {
        self.read(|state| state.jobs.iter().rev().take(top).map(|stored| stored.job.clone()).collect()).await
    }

    async fn next_import_export_job(&self) -> Result<Option<Job>, StoreError> {
        let is_active = |stored: &&StoredJob| stored.job.ended.is_none();
        self.read(|state| state.jobs.iter().find(is_active).map(|stored| stored.job.clone())).await
    }

    async fn begin_run(&self, id: &str) -> Result<Option<Job>, StoreError> {
        self.write(|state| {
            let stored = state.stored_job(id).filter(|stored| stored.job.ended.is_none())?;
            stored.job.run += 1;
            stored.job.status = JobStatus::Running;
            Some(stored.job.clone())
        })
        .await
    }

    async fn record_run(&self, run: &JobRun, record: &JobRecord) -> Result<bool, StoreError> {
        self.write(|state| state.record_run(run, record.clone())).await
    }

    async fn end_run(&self, run: &JobRun, failure: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
        let status = if failure.is_some() { JobStatus::Failed } else { JobStatus::Completed };
        self.write(|state| state.job_of_run(run).map(|stored| stored.end(status, failure, now)).is_some())
            .await
    }

    async fn cancel_import_export_job(&self, id: &str, now: Timestamp) -> Result<Option<Job>, StoreError> {
        self.write(|state| {
            let stored = state.stored_job(id)?;
            if stored.job.ended.is_none() {
                stored.end(JobStatus::Cancelled, None, now);
            }
            Some(stored.job.clone())
        })
        .await
    }

    async fn import_export_errors(&self, id: &str, skip: u64, top: usize) -> Result<Vec<String>, StoreError> {
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        self.read(|state| {
            let stored = state.jobs.iter().find(|stored| stored.job.id == id);
            let lines = stored.into_iter().flat_map(|stored| &stored.errors);
            lines.skip(skip).take(top).cloned().collect()
        })
        .await
    }

    async fn deferred_lines(
        &self,
        id: &str,
        after: u64,
        top: usize,
    ) -> Result<Vec<DeferredLine>, StoreError> {
        self.read(|state| {
            let stored = state.jobs.iter().find(|stored| stored.job.id == id);
            let lines = stored.into_iter().flat_map(|stored| stored.deferred.range(after + 1..));
            lines
                .take(top)
                .map(|(number, text)| DeferredLine { number: *number, text: text.clone() })
                .collect()
        })
        .await
    }

    async fn expire_import_export_jobs(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(|state| {
            let jobs = state.jobs.len();
            state.jobs.retain(|stored| stored.job.ended.is_none_or(|ended| ended > before));
            (jobs - state.jobs.len()) as u64
        })
        .await
    }

    async fn identities_with_twins(
        &self,
        after: Option<&IdentityId>,
        top: usize,
    ) -> Result<Vec<(Identity, TwinDocument)>, StoreError> {
        // The module id of a device is empty, so it comes before those of its modules.
        let key =
            |id: &IdentityId| (id.device_str().to_owned(), id.module_str().unwrap_or_default().to_owned());
        let after = after.map(key);
        self.read(|state| {
            let sorted: BTreeMap<_, _> =
                state.identities.iter().map(|(id, stored)| (key(id), stored)).collect();
            let found = sorted.into_iter().filter(|(id, _)| after.as_ref().is_none_or(|after| id > after));
            found
                .take(top)
                .map(|(_, stored)| (state.counted(&stored.identity), stored.twin.clone()))
                .collect()
        })
        .await
    }
}
