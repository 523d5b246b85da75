//! The part of the store port that keeps import and export jobs.
//!
//! Identities that an import changes are written with [`Store::apply_for_job`](crate::store::Store::apply_for_job), in one
//! commit with the progress of the job.

use async_trait::async_trait;
use ferrohub_model::{IdentityId, Timestamp};

use super::{Job, JobProgress, JobRun};
use crate::registry::Identity;
use crate::store_error::StoreError;
use crate::twins::TwinDocument;

/// The outcome of adding a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewJobOutcome {
    /// The job is persisted.
    Created,
    /// The maximum number of jobs wait or run.
    Full,
}

/// What a run has done since its last record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobRecord {
    /// How far the job is now.
    pub progress: JobProgress,
    /// Lines to add to the log of errors.
    pub errors: Vec<String>,
    /// Lines that wait for others: their numbers in the blob and their texts.
    pub deferred: Vec<DeferredLine>,
    /// The numbers of lines that waited and are done.
    pub resolved: Vec<u64>,
}

/// A line of an import that waits for an identity that comes later in the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeferredLine {
    /// Its number in the blob, from 1.
    pub number: u64,
    /// Its text.
    pub text: String,
}

/// Import and export jobs.
#[async_trait]
pub trait ImportExportStore: Send + Sync + 'static {
    /// Adds a job, unless `limit` jobs wait or run.
    async fn create_import_export_job(&self, job: &Job, limit: u32) -> Result<NewJobOutcome, StoreError>;

    /// Returns a job, or `None` if it does not exist.
    async fn import_export_job(&self, id: &str) -> Result<Option<Job>, StoreError>;

    /// Returns the newest `top` jobs, newest first.
    async fn import_export_jobs(&self, top: usize) -> Result<Vec<Job>, StoreError>;

    /// Returns the oldest job that waits or runs, or `None`.
    async fn next_import_export_job(&self) -> Result<Option<Job>, StoreError>;

    /// Begins a new run of a job that waits or runs. Returns the job, which runs now; `None` if it has ended.
    async fn begin_run(&self, id: &str) -> Result<Option<Job>, StoreError>;

    /// Records what a run has done. Returns false and records nothing if the job has ended or has a newer run.
    async fn record_run(&self, run: &JobRun, record: &JobRecord) -> Result<bool, StoreError>;

    /// Ends a job as failed, with a reason, or as completed. Removes its log of errors and its deferred lines. Returns false
    /// and changes nothing if the job has ended or has a newer run.
    async fn end_run(&self, run: &JobRun, failure: Option<&str>, now: Timestamp) -> Result<bool, StoreError>;

    /// Cancels a job that waits or runs, and removes its log of errors and its deferred lines. A job that has ended stays as
    /// it is. Returns the job; `None` if it does not exist.
    async fn cancel_import_export_job(&self, id: &str, now: Timestamp) -> Result<Option<Job>, StoreError>;

    /// Returns the first `top` lines of a job's log of errors after the first `skip` ones.
    async fn import_export_errors(&self, id: &str, skip: u64, top: usize) -> Result<Vec<String>, StoreError>;

    /// Returns the first `top` deferred lines of a job whose numbers are greater than `after`.
    async fn deferred_lines(&self, id: &str, after: u64, top: usize)
    -> Result<Vec<DeferredLine>, StoreError>;

    /// Deletes the jobs that ended at or before `before`. Returns their number.
    async fn expire_import_export_jobs(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Returns the first `top` devices and modules after the identity `after`, with their twins. Devices are in the order of
    /// their ids, each directly before its modules.
    async fn identities_with_twins(
        &self,
        after: Option<&IdentityId>,
        top: usize,
    ) -> Result<Vec<(Identity, TwinDocument)>, StoreError>;
}
