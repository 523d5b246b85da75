//! The task that runs jobs, one after the other, on the node that holds the lease.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::import_export::JobType;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::failure::RunFailure;
use super::{Job, JobRun};
use crate::background::{LeaseState, Stop, TaskLease};
use crate::hub::Hub;
use crate::metrics::count;
use crate::store::StoreError;

/// How often the task looks for jobs that another node has created, and removes old ones.
const INTERVAL: Duration = Duration::from_secs(30);
/// How often a job is tried again when storage fails, and the waits before.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];
/// How long the task waits when the store fails.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What the task that runs jobs shares with the operations.
pub(crate) struct JobWorker {
    lease: TaskLease,
    wakeup: Notify,
}

impl JobWorker {
    pub(crate) fn new(lease: TaskLease) -> Self {
        Self { lease, wakeup: Notify::new() }
    }

    /// Tells the task that there is a new job.
    pub(super) fn wake_up(&self) {
        self.wakeup.notify_one();
    }
}

/// What a run needs besides its job.
pub(super) struct RunContext {
    pub(super) run: JobRun,
    pub(super) stop: Stop,
    deadline: Instant,
    limit: Duration,
}

impl RunContext {
    /// Fails if the hub stops, or the job has taken too long.
    pub(super) fn check(&self) -> Result<(), RunFailure> {
        if self.stop.is_requested() {
            return Err(RunFailure::Stopping);
        }
        if Instant::now() >= self.deadline {
            return Err(RunFailure::too_slow(self.limit));
        }
        Ok(())
    }
}

impl Hub {
    /// Runs import and export jobs until it is stopped. A background task of the program.
    pub async fn run_import_export_jobs(self: Arc<Self>, mut stop: Stop) {
        while !stop.is_requested() {
            match self.run_next_job(&stop).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    error!(%error, "cannot run import and export jobs; the hub tries again");
                    if stop.requested_within(STORE_RETRY).await {
                        break;
                    }
                    continue;
                }
            }
            tokio::select! {
                () = stop.requested() => break,
                _ = timeout(INTERVAL, self.job_worker.wakeup.notified()) => {}
            }
        }
        self.job_worker.lease.release().await;
    }

    /// Runs the next job until it has ended. Returns whether there was one.
    async fn run_next_job(self: &Arc<Self>, stop: &Stop) -> Result<bool, StoreError> {
        if self.job_worker.lease.hold().await? != LeaseState::Held {
            return Ok(false);
        }
        let limits = &self.limits.import_export;
        let retention = i64::try_from(limits.retention.as_millis()).unwrap_or(i64::MAX);
        self.store.expire_import_export_jobs(self.clock.now().plus_millis(-retention)).await?;
        let Some(next) = self.store.next_import_export_job().await? else { return Ok(false) };
        // The duration of a job counts from its creation, so that restarts do not prolong it.
        let age = self.clock.now().unix_millis().saturating_sub(next.created.unix_millis());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        let deadline = Instant::now() + limits.duration.saturating_sub(age);
        self.metrics.import_export_running.inc();
        let ended = self.run_job(&next.id, stop, deadline).await;
        self.metrics.import_export_running.dec();
        ended.map(|()| true)
    }

    async fn run_job(self: &Arc<Self>, id: &str, stop: &Stop, deadline: Instant) -> Result<(), StoreError> {
        let mut retries = RETRIES.into_iter();
        loop {
            let Some(job) = self.store.begin_run(id).await? else { return Ok(()) };
            let run = JobRun { job: job.id.clone(), run: job.run };
            info!(
                job = id,
                kind = job.request.kind.name(),
                run = run.run,
                offset = job.progress.offset,
                "job runs"
            );
            let limit = self.limits.import_export.duration;
            let context = RunContext { run: run.clone(), stop: stop.clone(), deadline, limit };
            let failure = match self.run_once(job, &context).await {
                Ok(()) => None,
                Err(RunFailure::Ended) => {
                    info!(job = id, "the run of the job ends: it was cancelled, or another node runs it");
                    return Ok(());
                }
                Err(RunFailure::Stopping) => return Ok(()),
                Err(RunFailure::Store(error)) => return Err(error),
                Err(RunFailure::Storage(reason)) => match retries.next() {
                    Some(wait) => {
                        warn!(
                            job = id,
                            reason,
                            retry_seconds = wait.as_secs(),
                            "the storage of a job failed"
                        );
                        if stop.clone().requested_within(wait).await {
                            return Ok(());
                        }
                        continue;
                    }
                    None => Some(reason),
                },
                Err(RunFailure::Failed(reason)) => Some(reason),
            };
            let ended = self.store.end_run(&run, failure.as_deref(), self.clock.now()).await?;
            match failure {
                _ if !ended => {}
                None => {
                    count(&self.metrics.import_export_jobs, "completed");
                    info!(job = id, "job completed");
                }
                Some(reason) => {
                    count(&self.metrics.import_export_jobs, "failed");
                    warn!(job = id, reason, "job failed");
                }
            }
            return Ok(());
        }
    }

    async fn run_once(self: &Arc<Self>, job: Job, context: &RunContext) -> Result<(), RunFailure> {
        match job.request.kind {
            JobType::Import => self.run_import(job, context).await,
            JobType::Export => self.run_export(job, context).await,
        }
    }

    /// Renews the lease if necessary. Fails if the run must end.
    pub(super) async fn keep_running(&self, context: &RunContext) -> Result<(), RunFailure> {
        context.check()?;
        match self.job_worker.lease.hold().await? {
            LeaseState::Held => Ok(()),
            LeaseState::HeldElsewhere { .. } => Err(RunFailure::Ended),
        }
    }
}
