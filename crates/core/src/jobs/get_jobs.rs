//! The operations: return a job, and list jobs.

use ferrohub_model::job::{Job, JobStatus, JobType};
use ferrohub_model::{ErrorCode, HubError, JobId, Timestamp};

use super::present;
use super::store::{JobPhase, JobsRequest};
use crate::callers::ServiceCaller;
use crate::operations::Operation;
use crate::store::store_failed;

/// Number of jobs in a page if the caller does not ask for a number.
const DEFAULT_PAGE: usize = 100;
/// Maximum number of jobs in a page.
const MAX_PAGE: usize = 1000;
/// Maximum size of the conditions and actions of the jobs in a page, in bytes. A page has at least one job.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which jobs to list. The newest come first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only jobs of this type.
    pub job_type: Option<JobType>,
    /// Only jobs in this state.
    pub status: Option<JobStatus>,
    /// Maximum number of jobs in the page.
    pub top: Option<usize>,
    /// The continuation of the page before.
    pub before: Option<u64>,
}

/// A page of jobs.
#[derive(Debug, Clone)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The continuation of the next page; `None` if there are no more jobs.
    pub next: Option<u64>,
}

/// Returns the error for a job that does not exist.
pub(super) fn no_such_job(id: &JobId) -> HubError {
    let text =
        format!("There is no job {id}. A hub removes a job some time after its end (jobs.history_days).");
    HubError::new(ErrorCode::JobNotFound, text)
}

impl ServiceCaller {
    /// Returns a job.
    ///
    /// # Errors
    ///
    /// `JobNotFound`.
    pub async fn get_job(&self, id: &JobId) -> Result<Job, HubError> {
        let hub = self.permit(Operation::GetJob)?;
        let job = hub.store.job(id).await.map_err(store_failed)?.ok_or_else(|| no_such_job(id))?;
        Ok(present::job(&job, hub.clock.now()))
    }

    /// Returns a page of the jobs that match a filter.
    pub async fn list_jobs(&self, filter: &JobFilter) -> Result<JobPage, HubError> {
        let hub = self.permit(Operation::ListJobs)?;
        let now = hub.clock.now();
        let top = filter.top.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
        let (phases, due) = phases(filter.status, now);
        if phases.is_empty() {
            return Ok(JobPage { jobs: Vec::new(), next: None });
        }
        // One more tells whether there is another page.
        let request = JobsRequest {
            job_type: filter.job_type,
            phases,
            due,
            before: filter.before,
            top: top + 1,
            bytes: PAGE_BYTES,
        };
        let mut found = hub.store.jobs(&request).await.map_err(store_failed)?;
        let mut next = found.is_cut.then(|| found.jobs.last().map(|job| job.number)).flatten();
        if found.jobs.len() > top {
            found.jobs.truncate(top);
            next = found.jobs.last().map(|job| job.number);
        }
        Ok(JobPage { jobs: found.jobs.iter().map(|job| present::job(job, now)).collect(), next })
    }
}

/// Returns the phases of a state; and whether a waiting job must be due or not be due.
fn phases(status: Option<JobStatus>, now: Timestamp) -> (Vec<JobPhase>, Option<(bool, Timestamp)>) {
    match status {
        None => (JobPhase::ALL.to_vec(), None),
        // Only imports and exports are in these states.
        Some(JobStatus::Unknown | JobStatus::Enqueued) => (Vec::new(), None),
        Some(JobStatus::Scheduled) => (vec![JobPhase::Waiting], Some((false, now))),
        Some(JobStatus::Queued) => (vec![JobPhase::Waiting, JobPhase::Selecting], Some((true, now))),
        Some(JobStatus::Running) => (vec![JobPhase::Running], None),
        Some(JobStatus::Completed) => (vec![JobPhase::Completed], None),
        Some(JobStatus::Failed) => (vec![JobPhase::Failed], None),
        Some(JobStatus::Cancelled) => (vec![JobPhase::Cancelled], None),
    }
}
