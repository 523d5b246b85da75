//! Takes the jobs that are due, and runs each in a task of its own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ferrohub_model::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::active::ActiveJobs;
use super::limits::JobLimits;
use super::run::{Interruption, JobRun};
use super::store::{HeldJob, JobEnd, JobLease, JobPhase, JobsRequest, TakeJobs};
use crate::background::Stop;
use crate::clock::Clock;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::node::Connections;
use crate::panics::catch_panic;
use crate::store::{Store, StoreError};
use ferrohub_model::job::JobType;

/// How long a lease of a job is valid without a renewal.
const LEASE_MILLIS: i64 = 5 * 60 * 1000;
/// How often the leases are renewed.
const RENEWAL: Duration = Duration::from_secs(100);
/// Maximum sleep, because the wall clock may be changed meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(10);
/// Delay after an error of the store.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// How often old jobs are removed.
const HISTORY_INTERVAL: Duration = Duration::from_secs(3600);
/// Number of rows of old jobs that one commit removes.
const HISTORY_ROWS: usize = 1000;
/// Number of devices that are looked up at once.
const READY_BATCH: usize = 256;
/// How long a job is left alone after its run has failed. Each failure doubles it.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// A job whose run has panicked this often, one time after the other, ends as failed.
const MAX_PANICS: u32 = 5;

/// What the jobs of a node need. It does not keep the hub from being dropped.
pub(super) struct JobNode {
    hub: Weak<Hub>,
    name: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) connections: Arc<Connections>,
    pub(super) active: Arc<ActiveJobs>,
    pub(super) metrics: Metrics,
    pub(super) limits: JobLimits,
}

impl JobNode {
    /// Returns the hub.
    pub(super) fn hub(&self) -> Result<Arc<Hub>, Interruption> {
        self.hub.upgrade().ok_or(Interruption::Stopped)
    }

    /// Returns whether the hub is stopping: it begins no work then.
    pub(super) fn is_stopping(&self) -> bool {
        self.hub.upgrade().is_none_or(|hub| hub.is_stopping())
    }
}

impl Hub {
    /// Starts the tasks that run jobs.
    pub(crate) fn start_jobs(self: &Arc<Self>, name: String) {
        let node = Arc::new(JobNode {
            hub: Arc::downgrade(self),
            name,
            store: self.store.clone(),
            clock: self.clock.clone(),
            connections: self.connections.clone(),
            active: self.jobs.clone(),
            metrics: self.metrics.clone(),
            limits: self.limits.jobs.clone(),
        });
        let jobs = node.clone();
        self.background.start("jobs", move |stop| run_jobs(jobs.clone(), stop));
        let wake_ups = node.clone();
        self.background.start("job wake-ups", move |stop| stop.run(offer_ready_devices(wake_ups.clone())));
        self.background.start("job history", move |stop| stop.run(remove_old_jobs(node.clone())));
    }
}

/// Tells jobs of the devices for which they wait.
async fn offer_ready_devices(node: Arc<JobNode>) {
    loop {
        let devices = node.active.next_ready(READY_BATCH).await;
        match node.store.open_jobs_of(&devices).await {
            Ok(found) => found.into_iter().for_each(|(number, device)| node.active.offer(number, device)),
            Err(error) => {
                warn!(%error, "cannot look up the jobs of devices that have connected; retrying");
                sleep(STORE_RETRY).await;
                node.active.rescan_all();
            }
        }
    }
}

/// Removes jobs that ended long ago.
async fn remove_old_jobs(node: Arc<JobNode>) {
    loop {
        // A hub that has never had a job does not read its store again.
        while matches!(has_jobs(&node).await, Ok(false)) {
            node.active.next_creation().await;
        }
        let kept = i64::try_from(node.limits.history.as_millis()).unwrap_or(i64::MAX);
        let ended_before = node.clock.now().plus_millis(kept.saturating_neg());
        let mut removed = 0;
        let error = loop {
            match node.store.remove_old_jobs(ended_before, HISTORY_ROWS).await {
                Ok(0) => break None,
                Ok(rows) => removed += rows,
                Err(error) => break Some(error),
            }
            tokio::task::yield_now().await;
        };
        if removed > 0 {
            info!(rows = removed, "removed jobs that ended long ago");
        }
        if let Some(error) = error {
            warn!(%error, "cannot remove old jobs; retrying later");
        }
        sleep(HISTORY_INTERVAL).await;
    }
}

/// Returns whether there are jobs, ended or not.
async fn has_jobs(node: &JobNode) -> Result<bool, StoreError> {
    let newest = JobsRequest {
        job_type: None,
        phases: JobPhase::ALL.to_vec(),
        due: None,
        before: None,
        top: 1,
        bytes: 0,
    };
    Ok(!node.store.jobs(&newest).await?.jobs.is_empty())
}

/// A job that this node holds.
struct Held {
    lease: JobLease,
    /// When to run it again, after a run that has failed; `None` while it runs.
    again: Option<Instant>,
}

/// The runs of a node.
struct Runner {
    node: Arc<JobNode>,
    stop: Stop,
    held: HashMap<u64, Held>,
    /// Runs that have failed one after the other, and how many of them have panicked.
    failures: HashMap<u64, (u32, u32)>,
    tasks: JoinSet<(u64, RunEnd)>,
    renewed: Instant,
}

/// How a run has ended.
enum RunEnd {
    Ended,
    Interrupted(Interruption),
    Panicked,
}

/// Runs jobs until it is stopped.
async fn run_jobs(node: Arc<JobNode>, stop: Stop) {
    let mut runner = Runner {
        node,
        stop,
        held: HashMap::new(),
        failures: HashMap::new(),
        tasks: JoinSet::new(),
        renewed: Instant::now(),
    };
    while !runner.stop.is_requested() {
        let wake = match runner.take_and_renew().await {
            Ok(wake) => wake,
            Err(StoreError::Closed) => break,
            Err(error) => {
                warn!(%error, "cannot take the jobs that are due; retrying");
                Some(Instant::now() + STORE_RETRY)
            }
        };
        runner.wait(wake).await;
    }
    runner.finish().await;
}

impl Runner {
    /// Takes the jobs that are due, and renews leases. Returns when to do it again; `None` if there are no jobs.
    async fn take_and_renew(&mut self) -> Result<Option<Instant>, StoreError> {
        let started = Instant::now();
        self.held.retain(|_, held| held.again.is_none_or(|again| again > started));
        let node = &self.node;
        let now = node.clock.now();
        let expiry = now.plus_millis(LEASE_MILLIS);
        if started.duration_since(self.renewed) >= RENEWAL {
            let leases: Vec<JobLease> = self.held.values().map(|held| held.lease).collect();
            if !leases.is_empty() {
                // A run that has lost its lease notices it with its next write.
                node.store.renew_jobs(&leases, expiry).await?;
            }
            self.renewed = started;
        }
        let held = || self.held.keys().copied().collect::<Vec<_>>();
        let request = TakeJobs { holder: node.name.clone(), held: held(), now, expiry };
        for taken in node.store.take_jobs(&request).await? {
            self.start(taken).await;
        }
        let held = self.held.keys().copied().collect::<Vec<_>>();
        let next = self.node.store.next_job(&self.node.name, &held).await?;
        let again = self.held.values().filter_map(|held| held.again).min();
        if next.is_none() && held.is_empty() {
            // A new job wakes the runner. A hub without jobs does not read its store.
            return Ok(None);
        }
        let mut wake = started + MAX_SLEEP;
        if let Some(next) = next {
            wake = wake.min(started + until(next, now));
        }
        Ok(Some(again.map_or(wake, |again| wake.min(again))))
    }

    /// Runs a job in a task of its own.
    async fn start(&mut self, held: HeldJob) {
        let (number, lease) = (held.lease.number, held.lease);
        let waits = held.job.definition.action.job_type == JobType::DeviceMethod;
        let active = self.node.active.register(number, waits);
        let panics = self.failures.get(&number).map_or(0, |(_, panics)| *panics);
        let run = JobRun { node: self.node.clone(), held, active, stop: self.stop.clone() };
        let metrics = self.node.metrics.clone();
        self.held.insert(number, Held { lease, again: None });
        self.tasks.spawn(async move {
            metrics.jobs.running.inc();
            let work = async move {
                if panics >= MAX_PANICS {
                    let reason = "The hub failed several times while it ran the job; its log says why.";
                    return run.give_up(reason.to_owned()).await;
                }
                run.run().await
            };
            let ended = catch_panic(metrics.panics.clone(), "job", work).await;
            metrics.jobs.running.dec();
            let end = match ended {
                Ok(Ok(())) => RunEnd::Ended,
                Ok(Err(interruption)) => RunEnd::Interrupted(interruption),
                Err(_) => RunEnd::Panicked,
            };
            (number, end)
        });
    }

    /// Waits until it is time, a job is created, a run ends, or the runner must stop.
    async fn wait(&mut self, wake: Option<Instant>) {
        let mut stop = self.stop.clone();
        let ended = tokio::select! {
            ended = self.tasks.join_next(), if !self.tasks.is_empty() => ended,
            () = self.node.active.next_change() => None,
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => None,
            () = stop.requested() => None,
        };
        if let Some(ended) = ended {
            self.ended(ended).await;
        }
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended(ended).await;
        }
    }

    async fn ended(&mut self, ended: Result<(u64, RunEnd), tokio::task::JoinError>) {
        // Runs are not aborted before the runner itself is dropped.
        let Ok((number, end)) = ended else { return };
        let panicked = matches!(end, RunEnd::Panicked);
        match end {
            RunEnd::Ended | RunEnd::Interrupted(Interruption::JobEnded | Interruption::Lost) => {
                self.failures.remove(&number);
                if let Some(held) = self.held.remove(&number)
                    && let Err(error) = self.node.store.release_jobs(&[held.lease]).await
                {
                    warn!(%error, "cannot release the lease of a job; it ends by itself");
                }
            }
            RunEnd::Interrupted(Interruption::Stopped) | RunEnd::Panicked => {
                let (runs, panics) = self.failures.entry(number).or_default();
                let backoff = FIRST_BACKOFF * (1 << (*runs).min(5));
                *runs += 1;
                *panics += u32::from(panicked);
                if let Some(held) = self.held.get_mut(&number) {
                    held.again = Some(Instant::now() + backoff);
                }
            }
        }
    }

    /// Waits for the runs, which end their calls, and releases the leases.
    async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
        let leases: Vec<JobLease> = self.held.values().map(|held| held.lease).collect();
        if !leases.is_empty()
            && let Err(error) = self.node.store.release_jobs(&leases).await
        {
            warn!(%error, "cannot release the leases of jobs; they end by themselves");
        }
    }
}

/// Returns the time from `now` until a moment.
fn until(moment: Timestamp, now: Timestamp) -> Duration {
    let left = moment.unix_millis().saturating_sub(now.unix_millis());
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

impl JobRun {
    /// Ends the job as failed, after its runs have panicked again and again.
    async fn give_up(self, reason: String) -> Result<(), Interruption> {
        self.end_interrupted().await?;
        self.end(JobEnd::Failed(reason)).await
    }
}
