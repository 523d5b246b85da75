//! Applies a page of an import: a few identities in commits that also record which of them are done.

use async_trait::async_trait;
use ferrohub_model::bulk::BulkError;
use ferrohub_model::{ErrorCode, HubError};
use serde_json::json;

use super::failure::RunFailure;
use super::{JobProgress, JobRecord, JobRun};
use crate::hub::Hub;
use crate::registry::{CommitGroups, RegistryChange, Settle, Settled};
use crate::store::{Applied, ChangeGroup, Outcomes, Refused, Store, StoreError};

impl Hub {
    /// Applies items in commits that also record in `progress` which of them are done. `deferred` has the numbers of their lines,
    /// if they were deferred. Returns the items that failed and are not recorded yet; there are none of deferred lines.
    pub(super) async fn apply_for_job(
        &self,
        items: Vec<RegistryChange>,
        run: &JobRun,
        progress: &mut JobProgress,
        deferred: Option<Vec<u64>>,
    ) -> Result<Settled, RunFailure> {
        if items.is_empty() {
            return Ok(Settled::default());
        }
        let mut commit = PageCommit {
            store: &*self.store,
            run,
            progress: progress.clone(),
            max_errors: self.limits.import_export.errors,
            deferred,
            failure: None,
        };
        let mut failed = self.apply_together(items, &mut commit).await;
        let failure = commit.failure.take().or_else(|| store_failure(&failed));
        if failure.is_none() && commit.deferred.is_some() {
            commit.record_failed(&failed).await?;
            failed = Settled::default();
        }
        *progress = commit.progress;
        failure.map_or(Ok(failed), Err)
    }
}

/// Returns the failure of the hub's store, if it made an item fail: the item is tried again.
fn store_failure(failed: &Settled) -> Option<RunFailure> {
    let is_of_store = |error: &&BulkError| error.error_code == ErrorCode::ServerError.name();
    failed.errors.iter().find(is_of_store).map(|error| RunFailure::Storage(error.error_status.clone()))
}

/// The changes of a page are written with the progress of the job.
struct PageCommit<'a> {
    store: &'a dyn Store,
    run: &'a JobRun,
    /// How far the job is, with the items of this page that are done.
    progress: JobProgress,
    /// The maximum number of errors in the log.
    max_errors: u64,
    /// The numbers of the lines of the items, if the items are lines that were deferred.
    deferred: Option<Vec<u64>>,
    /// Set when a commit failed. The errors of the items then have no meaning.
    failure: Option<RunFailure>,
}

impl PageCommit<'_> {
    /// Records items that failed before anything was written of them.
    async fn record_failed(&mut self, settled: &Settled) -> Result<(), RunFailure> {
        if settled.numbers.is_empty() {
            return Ok(());
        }
        let record = settle(&mut self.progress, self.deferred.as_ref(), self.max_errors, settled);
        match self.store.record_run(self.run, &record).await? {
            true => Ok(()),
            false => Err(RunFailure::Ended),
        }
    }
}

#[async_trait]
impl CommitGroups for PageCommit<'_> {
    async fn commit(&mut self, groups: Vec<ChangeGroup>, settled: Settle) -> Result<Outcomes, HubError> {
        let (mut progress, deferred, max_errors) =
            (self.progress.clone(), self.deferred.clone(), self.max_errors);
        let record = Box::new(move |outcomes: &[Result<Applied, Refused>]| {
            settle(&mut progress, deferred.as_ref(), max_errors, &settled(outcomes))
        });
        let written: Result<_, StoreError> = self.store.apply_for_job(groups, self.run, record).await;
        let failure = match written {
            Ok(Some((outcomes, progress))) => {
                self.progress = progress;
                return Ok(outcomes);
            }
            Ok(None) => RunFailure::Ended,
            Err(error) => error.into(),
        };
        let error = HubError::new(ErrorCode::ServerError, failure.to_string());
        self.failure = Some(failure);
        Err(error)
    }

    fn records_refusals(&self) -> bool {
        true
    }

    /// An import of a million identities must not fill the log.
    fn logs_items(&self) -> bool {
        false
    }
}

/// Adds items that are done or failed to what the job has done. Returns what to write.
fn settle(
    progress: &mut JobProgress,
    deferred: Option<&Vec<u64>>,
    max_errors: u64,
    settled: &Settled,
) -> JobRecord {
    let mut record = JobRecord::default();
    for number in &settled.numbers {
        match deferred {
            Some(lines) => {
                record.resolved.extend(lines.get(*number));
                progress.deferred = progress.deferred.saturating_sub(1);
            }
            None => progress.settle(*number),
        }
    }
    progress.failed += settled.errors.len() as u64;
    progress.done += (settled.numbers.len() as u64).saturating_sub(settled.errors.len() as u64);
    record.errors = log_lines(progress, max_errors, &settled.errors);
    record.progress = progress.clone();
    record
}

/// Returns the lines of errors for the log, as many as it has room for, and counts them.
pub(super) fn log_lines(progress: &mut JobProgress, max_errors: u64, errors: &[BulkError]) -> Vec<String> {
    let room = usize::try_from(max_errors.saturating_sub(progress.logged)).unwrap_or(usize::MAX);
    let lines: Vec<String> = errors.iter().take(room).map(log_line).collect();
    progress.logged += lines.len() as u64;
    lines
}

/// Returns the line of the log for an item that failed. Azure writes the number of the error here, and its name in the
/// response to a bulk request.
fn log_line(error: &BulkError) -> String {
    let number = ErrorCode::from_name(&error.error_code).map(ErrorCode::number);
    let mut line = json!({
        "deviceId": error.device_id,
        "errorCode": number,
        "errorStatus": error.error_status,
    });
    if let (Some(module), Some(line)) = (&error.module_id, line.as_object_mut()) {
        line.insert("moduleId".to_owned(), module.as_str().into());
    }
    line.to_string()
}
