//! The run of one job on the node that holds its lease.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::job::JobType;
use ferrohub_model::{ErrorCode, Timestamp};
use tokio::time::sleep;
use tracing::info;

use super::active::Registered;
use super::runner::JobNode;
use super::store::{DeviceChange, DeviceEnd, HeldJob, JobEnd, JobPhase};
use crate::background::Stop;
use crate::log_limited;
use crate::store_error::StoreError;

/// The first delay after an error of the store. Each error doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest delay after an error of the store.
const MAX_RETRY: Duration = Duration::from_secs(10);

/// Why a run has ended before its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interruption {
    /// Another node or process has the lease.
    Lost,
    /// The job has ended: it was cancelled, or could not run.
    JobEnded,
    /// The hub is stopping.
    Stopped,
}

/// The run of one job.
pub(super) struct JobRun {
    pub(super) node: Arc<JobNode>,
    pub(super) held: HeldJob,
    pub(super) active: Registered,
    pub(super) stop: Stop,
}

impl JobRun {
    /// Runs the job from where it is to its end.
    pub(super) async fn run(mut self) -> Result<(), Interruption> {
        self.end_interrupted().await?;
        if self.held.job.phase.is_ended() {
            return Ok(());
        }
        if matches!(self.held.job.phase, JobPhase::Waiting | JobPhase::Selecting) {
            self.select().await?;
        }
        let definition = self.held.job.definition.clone();
        match definition.action.job_type {
            JobType::DeviceMethod => self.call_devices(&definition.action.body).await,
            JobType::UpdateTwin => self.change_twins(&definition.action.body).await,
        }
    }

    /// Ends the rows whose work an earlier run of the job began and did not end: its process is gone, and nobody knows what
    /// the devices did.
    pub(super) async fn end_interrupted(&self) -> Result<(), Interruption> {
        if self.held.job.counts.running == 0 {
            return Ok(());
        }
        let end = DeviceEnd::Failed {
            code: ErrorCode::ServerError.name().to_owned(),
            description: "The hub ended while the device had the call; the method may have run.".to_owned(),
        };
        let lease = self.held.lease;
        let ended = self.retry(|| self.node.store.end_interrupted_devices(lease, &end, self.now())).await?;
        let devices = ended.ok_or(Interruption::Lost)?;
        self.node.metrics.jobs.count_devices("failed", devices);
        info!(job = %self.held.job.definition.id, devices, "ended the calls of a job that the hub left open");
        Ok(())
    }

    /// Ends the job.
    pub(super) async fn end(&self, end: JobEnd) -> Result<(), Interruption> {
        let lease = self.held.lease;
        let ended = self.retry(|| self.node.store.end_job(lease, &end, self.now())).await?;
        let job = ended.ok_or(Interruption::Lost)?;
        if job.phase == JobPhase::Cancelled {
            return Ok(());
        }
        if !job.phase.is_ended() {
            // Rows are open that this run has not seen. It is repeated.
            return Err(Interruption::Stopped);
        }
        let (outcome, open) =
            (if job.phase == JobPhase::Failed { "failed" } else { "completed" }, job.counts.open());
        self.node.metrics.jobs.count_job(outcome);
        self.node.metrics.jobs.count_devices("expired", open);
        info!(
            job = %job.definition.id,
            outcome,
            reason = job.failure,
            succeeded = job.counts.completed,
            failed = job.counts.failed,
            not_begun = open,
            "job ended"
        );
        Ok(())
    }

    /// Ends the job as failed, for a reason for people.
    pub(super) async fn fail(&self, reason: String) -> Interruption {
        self.end(JobEnd::Failed(reason)).await.err().unwrap_or(Interruption::JobEnded)
    }

    /// Writes changes of rows. Returns for each whether it was made, and the numbers of rows; the job may have been
    /// cancelled meanwhile.
    pub(super) async fn write(
        &self,
        changes: Vec<DeviceChange>,
    ) -> Result<super::store::ChangedDevices, Interruption> {
        let lease = self.held.lease;
        let written =
            self.retry(|| self.node.store.change_job_devices(lease, changes.clone(), self.now())).await?;
        let written = written.ok_or(Interruption::Lost)?;
        let mut failed = 0;
        let mut succeeded = 0;
        for (change, made) in changes.iter().zip(&written.made) {
            match change {
                DeviceChange::End(_, DeviceEnd::Failed { .. }) if *made => failed += 1,
                DeviceChange::End(..) if *made => succeeded += 1,
                _ => {}
            }
        }
        self.node.metrics.jobs.count_devices("failed", failed);
        self.node.metrics.jobs.count_devices("succeeded", succeeded);
        Ok(written)
    }

    /// Returns whether no more work may begin: the job was cancelled, the deadline has passed, or the hub is stopping.
    pub(super) fn must_not_begin(&self) -> bool {
        self.active.is_cancelled()
            || self.stop.is_requested()
            || self.left().is_zero()
            || self.node.is_stopping()
    }

    /// Returns the time until the deadline.
    pub(super) fn left(&self) -> Duration {
        let left = self.held.job.definition.deadline.unix_millis().saturating_sub(self.now().unix_millis());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.node.clock.now()
    }

    /// Repeats an operation of the store until it succeeds. What was not written is not lost: a run has outcomes of calls
    /// in memory that cannot be found out again.
    pub(super) async fn retry<T, F>(&self, operation: impl Fn() -> F) -> Result<T, Interruption>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut delay = FIRST_RETRY;
        loop {
            match operation().await {
                Ok(done) => return Ok(done),
                Err(StoreError::Closed) => return Err(Interruption::Stopped),
                Err(error) => {
                    let job = &self.held.job.definition.id;
                    log_limited!(error, "a job cannot use the store; it tries again", "store_failed", %job, %error);
                    sleep(delay).await;
                    delay = (delay * 2).min(MAX_RETRY);
                }
            }
        }
    }
}
