//! The part of the store port that keeps jobs, and what they did on each device.

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_model::job::JobType;
use ferrohub_model::{DeviceId, IdentityId, JobId, Timestamp};

use crate::store_error::StoreError;

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAction {
    /// The kind of the work.
    pub job_type: JobType,
    /// The method call or the change of the twin, as JSON text.
    pub body: String,
}

/// What a job is, from its creation on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDefinition {
    /// Its name.
    pub id: JobId,
    /// What it does.
    pub action: JobAction,
    /// The condition of its devices or modules.
    pub condition: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it starts.
    pub start: Timestamp,
    /// When it ends at the latest.
    pub deadline: Timestamp,
}

/// The state of a job. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum JobPhase {
    /// It has not begun.
    Waiting = 0,
    /// Its devices are being selected. Those that are selected so far have rows.
    Selecting = 1,
    /// Its work is being done.
    Running = 2,
    /// It has ended. Rows whose work was not begun by then count as failed.
    Completed = 3,
    /// It could not run.
    Failed = 4,
    /// It was cancelled. Rows whose work was not begun by then are cancelled.
    Cancelled = 5,
}

impl JobPhase {
    /// All phases.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Selecting, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// Returns whether the job has ended. Work that was begun before may still be going on.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// The stored state of a row. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DeviceState {
    /// The job has not looked at the device yet.
    Pending = 0,
    /// The job waits for the device to connect.
    Waiting = 1,
    /// The work has begun.
    Running = 2,
    /// The work is done.
    Completed = 3,
    /// The work has failed.
    Failed = 4,
}

impl DeviceState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Waiting, Self::Running, Self::Completed, Self::Failed];

    /// Returns whether the work has not begun.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Waiting)
    }
}

/// The numbers of rows of a job by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCounts {
    /// Rows in state [`DeviceState::Pending`].
    pub pending: u64,
    /// Rows in state [`DeviceState::Waiting`].
    pub waiting: u64,
    /// Rows in state [`DeviceState::Running`].
    pub running: u64,
    /// Rows in state [`DeviceState::Completed`].
    pub completed: u64,
    /// Rows in state [`DeviceState::Failed`].
    pub failed: u64,
}

impl JobCounts {
    /// Returns the number of rows whose work has not begun.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.pending + self.waiting
    }

    /// Returns the number of rows in a state.
    pub fn of(&mut self, state: DeviceState) -> &mut u64 {
        match state {
            DeviceState::Pending => &mut self.pending,
            DeviceState::Waiting => &mut self.waiting,
            DeviceState::Running => &mut self.running,
            DeviceState::Completed => &mut self.completed,
            DeviceState::Failed => &mut self.failed,
        }
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJob {
    /// The number that the store gave it: later jobs have larger ones.
    pub number: u64,
    /// What it is.
    pub definition: Arc<JobDefinition>,
    /// Its state.
    pub phase: JobPhase,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it could not run.
    pub failure: Option<String>,
    /// The numbers of its rows.
    pub counts: JobCounts,
}

/// The right to work on a job. A write with a lease that another node or process has taken over changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLease {
    /// The job.
    pub number: u64,
    /// Larger than that of every earlier lease of this job.
    pub fence: u64,
}

/// A job with its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldJob {
    /// The job.
    pub job: StoredJob,
    /// The lease.
    pub lease: JobLease,
}

/// A row of a job whose work has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDevice {
    /// The device or module.
    pub id: IdentityId,
    /// The generation that was selected. Another one is another device.
    pub generation_id: String,
    /// Whether this generation of the device or module exists.
    pub exists: bool,
    /// The state.
    pub state: DeviceState,
}

/// How the work on a device ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEnd {
    /// The twin is changed.
    Changed,
    /// The device answered the call.
    Answered {
        /// The status.
        status: i32,
        /// The payload as JSON text; `null` if there is none.
        payload: String,
    },
    /// It failed.
    Failed {
        /// The name of the error.
        code: String,
        /// The reason, for people.
        description: String,
    },
}

/// A row as clients read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// The device or module.
    pub id: IdentityId,
    /// The stored state.
    pub state: DeviceState,
    /// When the stored state changed.
    pub updated: Timestamp,
    /// How the work ended, if it has.
    pub end: Option<DeviceEnd>,
}

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChange {
    /// Begins the work: if the job runs, and the row is open.
    Begin(IdentityId),
    /// The device is not connected: if the row is pending.
    Wait(IdentityId),
    /// The work was not begun after all: if the row is running.
    GiveBack(IdentityId),
    /// The work has ended: if the row is open and the job runs, or the row is running.
    End(IdentityId, DeviceEnd),
}

impl DeviceChange {
    /// Returns the device or module.
    #[must_use]
    pub fn id(&self) -> &IdentityId {
        match self {
            Self::Begin(id) | Self::Wait(id) | Self::GiveBack(id) | Self::End(id, _) => id,
        }
    }
}

/// The outcome of changes of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedDevices {
    /// For each change, whether it was made.
    pub made: Vec<bool>,
    /// The state of the job.
    pub phase: JobPhase,
    /// The numbers of its rows after the changes.
    pub counts: JobCounts,
}

/// The outcome of adding rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedDevices {
    /// The rows are added.
    Added,
    /// The lease is lost, or the job does not select devices any more.
    NotSelecting,
}

/// The outcome of creating a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateJobOutcome {
    /// The new job.
    Created(StoredJob),
    /// The id is taken.
    Exists,
    /// The hub has the maximum number of active jobs.
    Full,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// As completed, if no row is running, and either none is open or the deadline has passed.
    Completed,
    /// As failed, for this reason.
    Failed(String),
}

/// Which jobs to list, in the order of their creation, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsRequest {
    /// Only jobs of this type.
    pub job_type: Option<JobType>,
    /// Only jobs in one of these phases.
    pub phases: Vec<JobPhase>,
    /// Of the jobs in phase [`JobPhase::Waiting`] only those that start at or before this time, or only those that start
    /// after it.
    pub due: Option<(bool, Timestamp)>,
    /// Only jobs before the one with this number.
    pub before: Option<u64>,
    /// Maximum number of jobs.
    pub top: usize,
    /// Maximum size of their conditions and actions; at least one job is returned if there is one.
    pub bytes: usize,
}

/// Jobs that were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundJobs {
    /// The jobs, the newest first.
    pub jobs: Vec<StoredJob>,
    /// Whether there are others, which were left out because of the size.
    pub is_cut: bool,
}

/// A request for the leases of jobs that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeJobs {
    /// The node that asks.
    pub holder: String,
    /// Jobs that the node already runs.
    pub held: Vec<u64>,
    /// The current time.
    pub now: Timestamp,
    /// When the leases end unless they are renewed.
    pub expiry: Timestamp,
}

/// Jobs.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Adds a job, unless its id is taken, or `limit` jobs have not ended.
    async fn create_job(&self, job: &JobDefinition, limit: u64) -> Result<CreateJobOutcome, StoreError>;

    /// Returns a job.
    async fn job(&self, id: &JobId) -> Result<Option<StoredJob>, StoreError>;

    /// Returns jobs.
    async fn jobs(&self, request: &JobsRequest) -> Result<FoundJobs, StoreError>;

    /// Ends a job as cancelled, unless it has ended. Returns the job as it is then, and whether this call has cancelled it;
    /// `None` if it does not exist.
    async fn cancel_job(&self, id: &JobId, now: Timestamp) -> Result<Option<(StoredJob, bool)>, StoreError>;

    /// Grants the leases of jobs that have work to do: jobs that are due and have not ended, and ended jobs with rows that
    /// are running. A lease is granted if it is free, has expired, or belongs to the same holder.
    async fn take_jobs(&self, request: &TakeJobs) -> Result<Vec<HeldJob>, StoreError>;

    /// Sets the expiry of leases. Returns those that are lost.
    async fn renew_jobs(&self, leases: &[JobLease], expiry: Timestamp) -> Result<Vec<JobLease>, StoreError>;

    /// Frees leases that are not lost.
    async fn release_jobs(&self, leases: &[JobLease]) -> Result<(), StoreError>;

    /// Returns when the next job has work that is not in `held`: when it starts, or when the lease of another holder ends.
    async fn next_job(&self, holder: &str, held: &[u64]) -> Result<Option<Timestamp>, StoreError>;

    /// Adds rows for those of the identities that exist, unless they have one. Then the job is in phase
    /// [`JobPhase::Selecting`], or in phase [`JobPhase::Running`] if these were the last.
    async fn add_job_devices(
        &self,
        lease: JobLease,
        ids: &[IdentityId],
        is_last: bool,
        now: Timestamp,
    ) -> Result<AddedDevices, StoreError>;

    /// Returns the last row of a job, in the order of ids.
    async fn last_job_device(&self, number: u64) -> Result<Option<IdentityId>, StoreError>;

    /// Returns the first open rows of a job after an id, in the order of ids.
    async fn open_job_devices(
        &self,
        number: u64,
        after: Option<&IdentityId>,
        top: usize,
    ) -> Result<Vec<JobDevice>, StoreError>;

    /// Returns the open rows of devices and their modules in jobs that run.
    async fn open_jobs_of(&self, devices: &[DeviceId]) -> Result<Vec<(u64, JobDevice)>, StoreError>;

    /// Changes rows in one commit. `None`, and no change, if the lease is lost.
    async fn change_job_devices(
        &self,
        lease: JobLease,
        changes: Vec<DeviceChange>,
        now: Timestamp,
    ) -> Result<Option<ChangedDevices>, StoreError>;

    /// Ends all running rows of a job in this way: an earlier holder of the lease has begun their work. Returns how many
    /// there were; `None`, and no change, if the lease is lost.
    async fn end_interrupted_devices(
        &self,
        lease: JobLease,
        end: &DeviceEnd,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError>;

    /// Ends a job. Returns it as it is then; `None` if the lease is lost.
    async fn end_job(
        &self,
        lease: JobLease,
        end: &JobEnd,
        now: Timestamp,
    ) -> Result<Option<StoredJob>, StoreError>;

    /// Removes at most `rows` rows of jobs that ended before a time, and jobs without rows. Returns the number of removed
    /// rows and jobs: none are left if it is 0.
    async fn remove_old_jobs(&self, ended_before: Timestamp, rows: usize) -> Result<u64, StoreError>;
}
