//! Jobs that import identities and configurations from blobs, and export them: how a fleet moves between hubs.
//!
//! A job is stored, and one node runs it, under a lease. An import records with each commit of identities how far it is: a
//! hub that is killed continues where it was, and no line is applied twice. An export starts again, because its blob
//! appears only when it is complete.
//!
//! `manage_jobs` has the operations; `worker` runs the jobs, `import` and `export` are what it runs.
//! `container` is where blobs are: the hub's own container, or storage that the operator allows
//! ([`ExternalContainers`]).

mod configurations;
mod container;
mod container_url;
mod deferred;
mod export;
mod failure;
mod import;
mod job;
mod limits;
mod lines;
mod manage_jobs;
mod page;
mod store;
mod worker;

pub use container::{
    ContainerBlob, ContainerError, ContainerLocation, ExternalContainers, OpenContainerBlob,
};
pub use job::{Job, JobProgress, JobRequest, JobRun};
pub use limits::ImportExportLimits;
pub use store::{DeferredLine, ImportExportStore, JobRecord, NewJobOutcome};
pub(crate) use worker::JobWorker;

/// The container of the hub itself: the first segment of the path of its blobs.
pub const CONTAINER: &str = "ferrohub-import-export";
/// The blob of identities, unless a request names another.
const DEVICES_BLOB: &str = "devices.txt";
/// The blob of what failed in an import.
const ERRORS_BLOB: &str = "importErrors.log";
/// The blob of configurations that failed in an import.
const CONFIGURATION_ERRORS_BLOB: &str = "importConfigErrors.log";
/// The blob of configurations, unless a request names another.
const CONFIGURATIONS_BLOB: &str = "configurations.txt";
