//! The `Store` port: all state that must survive a restart.
//!
//! Each feature declares its part of the port beside its rules. [`Store`] is the sum of the parts, and changes identities
//! and twins in [groups](ChangeGroup): what belongs together is one commit.
//!
//! A write that returns `Ok` is persisted. Concurrent writes are in no order, and share commits: an adapter must expect
//! concurrent calls. One conformance suite runs against every adapter.

mod change_group;

pub use change_group::{Applied, Change, ChangeGroup, Outcomes, Refusal, Refused};

pub use crate::store_error::StoreError;
pub(crate) use crate::store_error::store_failed;

use async_trait::async_trait;

use crate::authorities::AuthorityStore;
use crate::background::LeaseStore;
use crate::cloud_to_device::MessageStore;
use crate::configurations::ConfigurationStore;
use crate::connections::ConnectionStore;
use crate::files::{BlobIndex, FileNotificationStore, SigningKeyStore, UploadStore};
use crate::import_export::{ImportExportStore, JobProgress, JobRecord, JobRun};
use crate::jobs::JobStore;
use crate::policies::PolicyStore;
use crate::queries::QueryStore;
use crate::registry::RegistryStore;
use crate::twins::TwinStore;

/// Returns what a run of a job records, by the outcomes of the groups that are written with it.
pub type RecordFn = Box<dyn FnOnce(&[Result<Applied, Refused>]) -> JobRecord + Send>;

/// The persistent state of one hub.
#[async_trait]
pub trait Store:
    AuthorityStore
    + BlobIndex
    + ConfigurationStore
    + ConnectionStore
    + FileNotificationStore
    + ImportExportStore
    + JobStore
    + LeaseStore
    + MessageStore
    + PolicyStore
    + QueryStore
    + RegistryStore
    + SigningKeyStore
    + TwinStore
    + UploadStore
{
    /// Applies groups of changes in this order and in one commit. Each group is applied as a whole or not at all; a refused
    /// group does not affect the others. Returns an outcome for each group.
    async fn apply(&self, groups: Vec<ChangeGroup>) -> Result<Outcomes, StoreError>;

    /// Applies groups of changes like [`Store::apply`], and records in the same commit what the run of a job has done, as
    /// `record` returns it. Returns the outcomes and the new progress; `None`, and writes nothing, if the job has ended or
    /// has a newer run.
    async fn apply_for_job(
        &self,
        groups: Vec<ChangeGroup>,
        run: &JobRun,
        record: RecordFn,
    ) -> Result<Option<(Outcomes, JobProgress)>, StoreError>;

    /// Applies one group of changes.
    async fn apply_group(&self, group: ChangeGroup) -> Result<Result<Applied, Refused>, StoreError> {
        let outcome = self.apply(vec![group]).await?.pop();
        outcome.ok_or_else(|| StoreError::Corrupt("the store returned no outcome of a change".to_owned()))
    }

    /// Checks that the store works, with a small write that reaches the disk and a read. Calls in quick succession may
    /// share one write.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Completes all accepted writes and closes. Later calls return [`StoreError::Closed`].
    async fn close(&self);
}
