//! Import and export jobs.

use async_trait::async_trait;
use ferrohub_core::import_export::{DeferredLine, ImportExportStore, Job, JobRecord, JobRun, NewJobOutcome};
use ferrohub_core::registry::Identity;
use ferrohub_core::store::StoreError;
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::{IdentityId, Timestamp};

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl ImportExportStore for SqliteStore {
    async fn create_import_export_job(&self, job: &Job, limit: u32) -> Result<NewJobOutcome, StoreError> {
        let job = job.clone();
        self.writer.write(move |db| statements::create_job(db, &job, limit)).await
    }

    async fn import_export_job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let id = id.to_owned();
        self.readers.read(move |db| statements::job(db, &id)).await
    }

    async fn import_export_jobs(&self, top: usize) -> Result<Vec<Job>, StoreError> {
        self.readers.read(move |db| statements::jobs(db, top)).await
    }

    async fn next_import_export_job(&self) -> Result<Option<Job>, StoreError> {
        self.readers.read(statements::next_job).await
    }

    async fn begin_run(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let id = id.to_owned();
        self.writer.write(move |db| statements::begin_run(db, &id)).await
    }

    async fn record_run(&self, run: &JobRun, record: &JobRecord) -> Result<bool, StoreError> {
        let (run, record) = (run.clone(), record.clone());
        self.writer.write(move |db| statements::record_run(db, &run, &record)).await
    }

    async fn end_run(&self, run: &JobRun, failure: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
        let (run, failure) = (run.clone(), failure.map(str::to_owned));
        self.writer.write(move |db| statements::end_run(db, &run, failure.as_deref(), now)).await
    }

    async fn cancel_import_export_job(&self, id: &str, now: Timestamp) -> Result<Option<Job>, StoreError> {
        let id = id.to_owned();
        self.writer.write(move |db| statements::cancel_job(db, &id, now)).await
    }

    async fn import_export_errors(&self, id: &str, skip: u64, top: usize) -> Result<Vec<String>, StoreError> {
        let id = id.to_owned();
        self.readers.read(move |db| statements::job_errors(db, &id, skip, top)).await
    }

    async fn deferred_lines(
        &self,
        id: &str,
        after: u64,
        top: usize,
    ) -> Result<Vec<DeferredLine>, StoreError> {
        let id = id.to_owned();
        self.readers.read(move |db| statements::deferred_lines(db, &id, after, top)).await
    }

    async fn expire_import_export_jobs(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::expire_jobs(db, before)).await
    }

    async fn identities_with_twins(
        &self,
        after: Option<&IdentityId>,
        top: usize,
    ) -> Result<Vec<(Identity, TwinDocument)>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |db| statements::identities_with_twins(db, after.as_ref(), top)).await
    }
}
