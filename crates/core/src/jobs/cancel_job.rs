//! The operation: cancels a job.

use ferrohub_model::job::Job;
use ferrohub_model::{HubError, JobId};
use tracing::info;

use super::get_jobs::no_such_job;
use super::present;
use crate::callers::ServiceCaller;
use crate::operations::Operation;
use crate::store::store_failed;

impl ServiceCaller {
    /// Cancels a job, and returns it. Work that has begun goes on to its end; no other work begins. A job that has ended
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// `JobNotFound`.
    pub async fn cancel_job(&self, id: &JobId) -> Result<Job, HubError> {
        let hub = self.permit(Operation::CancelJob)?;
        let now = hub.clock.now();
        let cancelled = hub.store.cancel_job(id, now).await.map_err(store_failed)?;
        let (job, is_first) = cancelled.ok_or_else(|| no_such_job(id))?;
        if is_first {
            hub.metrics.jobs.count_job("cancelled");
            hub.metrics.jobs.count_devices("canceled", job.counts.open());
            info!(job = %id, not_begun = job.counts.open(), running = job.counts.running, "job cancelled");
            hub.jobs.cancelled(job.number);
        }
        Ok(present::job(&job, now))
    }
}
