//! A job as stored.

use std::fmt;

use ferrohub_model::Timestamp;
use ferrohub_model::import_export::{
    ImportExportJob, JobStatus, JobType, StorageAuthentication, without_signature,
};
use serde::{Deserialize, Serialize};

/// A job.
#[derive(Clone, PartialEq, Eq)]
pub struct Job {
    /// The id, a GUID.
    pub id: String,
    /// What it does.
    pub request: JobRequest,
    /// Its state.
    pub status: JobStatus,
    /// When it was created.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How often a node has begun to run it. The writes of earlier runs are refused.
    pub run: u64,
    /// How far it is.
    pub progress: JobProgress,
    /// Why it failed.
    pub failure: Option<String>,
}

/// What a job does, as checked when it was created.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Import or export.
    pub kind: JobType,
    /// The container of the blob to import. With its signature, so a secret.
    pub input_container: Option<String>,
    /// The blob to import.
    pub input_blob: String,
    /// The container to write to. With its signature, so a secret.
    pub output_container: String,
    /// The blob to export to.
    pub output_blob: String,
    /// Whether an export leaves out the keys.
    pub exclude_keys: bool,
    /// Whether configurations are included.
    pub include_configurations: bool,
    /// The blob of the configurations.
    pub configurations_blob: String,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobProgress {
    /// The etag of the blob to import, once it was opened. A blob that has another etag later is refused.
    pub etag: Option<String>,
    /// The size of the blob to import, in bytes.
    pub bytes: u64,
    /// The lines before this byte of the blob are done or deferred.
    pub offset: u64,
    /// The number of lines before this byte.
    pub lines: u64,
    /// Which items after this byte are done already: one bit each, from the lowest.
    pub settled: [u64; 2],
    /// The number of lines that are identities, whether done or not.
    pub items: u64,
    /// Identities that are imported or exported.
    pub done: u64,
    /// Lines that failed.
    pub failed: u64,
    /// How many of the failed lines have an entry in the log of errors.
    pub logged: u64,
    /// Lines that wait for others.
    pub deferred: u64,
    /// Whether the configurations are imported.
    pub configurations: bool,
    /// How much is done, in percent.
    pub percent: u8,
}

impl JobProgress {
    /// Returns whether the item with this number after the offset is done.
    pub(crate) fn is_settled(&self, number: usize) -> bool {
        let [low, high] = self.settled;
        let bits = u128::from(low) | u128::from(high) << 64;
        number < 128 && bits & (1 << number) != 0
    }

    /// Marks the item with this number after the offset as done.
    pub(crate) fn settle(&mut self, number: usize) {
        let [low, high] = &mut self.settled;
        match number {
            0..64 => *low |= 1 << number,
            64..128 => *high |= 1 << (number - 64),
            _ => {}
        }
    }
}

/// One run of a job. Writes in its name are refused once another run has begun, or the job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// The id of the job.
    pub job: String,
    /// The number of the run.
    pub run: u64,
}

impl Job {
    /// Returns the job as callers see it, without signatures.
    #[must_use]
    pub fn present(&self) -> ImportExportJob {
        let Self { request, progress, .. } = self;
        let uri = |uri: &String| without_signature(uri).to_owned();
        ImportExportJob {
            job_id: self.id.clone(),
            start_time_utc: self.created,
            end_time_utc: self.ended,
            kind: request.kind,
            status: self.status,
            progress: if self.status == JobStatus::Completed { 100 } else { progress.percent },
            input_blob_container_uri: request.input_container.as_ref().map(uri),
            input_blob_name: request.input_container.is_some().then(|| request.input_blob.clone()),
            output_blob_container_uri: uri(&request.output_container),
            output_blob_name: request.output_blob.clone(),
            exclude_keys_in_export: request.exclude_keys,
            storage_authentication_type: StorageAuthentication::KeyBased,
            include_configurations: request.include_configurations,
            configurations_blob_name: request
                .include_configurations
                .then(|| request.configurations_blob.clone()),
            failure_reason: self.failure.clone(),
            items_done: progress.done,
            items_failed: progress.failed,
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id)
            .field("request", &self.request)
            .field("status", &self.status)
            .field("run", &self.run)
            .field("progress", &self.progress)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JobRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobRequest")
            .field("kind", &self.kind)
            .field("input_container", &self.input_container.as_deref().map(without_signature))
            .field("input_blob", &self.input_blob)
            .field("output_container", &without_signature(&self.output_container))
            .field("output_blob", &self.output_blob)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_128_items_is_settled_on_its_own() {
        let mut progress = JobProgress::default();
        for number in [0, 63, 64, 127] {
            assert!(!progress.is_settled(number));
            progress.settle(number);
            assert!(progress.is_settled(number) && !progress.is_settled(number + 1), "{number}");
        }
        progress.settle(128);
        assert_eq!(progress.settled, [1 | 1 << 63, 1 | 1 << 63]);
        let json = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<JobProgress>(&json).unwrap(), progress);
    }
}
