//! Jobs: a method call, or a change of twins, on many devices or modules.
//!
//! `docs/jobs.md` describes them for users, `docs/decisions/0032-jobs.md` the reasons.
//!
//! * [`JobStore`] is the port. It keeps a job, and a row for each of its devices. The state of a row that no work was begun
//!   on is also that of its job: when a job ends or is cancelled, nothing is written to these rows.
//! * A node takes the lease of a job that is due (`runner`), and then runs it (`run`): it selects the devices (`select`),
//!   and does the work, a method call (`method_job`) or a change of the twin (`twin_job`).
//! * Work on a device begins with a write that no other node and no later process can repeat ([`JobLease`]), so it is done
//!   at most once. A call that a crash has cut ends as failed.
//! * A device that is not connected is waited for: its connection wakes the job (`active`).

mod active;
mod cancel_job;
mod create_job;
mod get_jobs;
mod in_memory;
mod limits;
mod method_job;
mod present;
mod run;
mod runner;
mod select;
mod store;
mod twin_job;

pub(crate) use active::ActiveJobs;
pub use create_job::{JobWork, NewJob};
pub use get_jobs::{JobFilter, JobPage};
pub use in_memory::run_jobs_in_memory;
pub use limits::JobLimits;
pub use present::{NOT_BEGUN, row_document};
pub use store::{
    AddedDevices, ChangedDevices, CreateJobOutcome, DeviceChange, DeviceEnd, DeviceState, FoundJobs, HeldJob,
    JobAction, JobCounts, JobDefinition, JobDevice, JobEnd, JobLease, JobPhase, JobRow, JobStore,
    JobsRequest, StoredJob, TakeJobs,
};
