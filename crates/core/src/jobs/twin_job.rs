//! The work of a job that changes twins.
//!
//! The change of a twin and the end of its row are one commit, so a crash leaves neither without the other, and no row is
//! ever in the state running.

use std::time::Duration;

use ferrohub_model::IdentityId;
use ferrohub_model::twin::TwinChange;
use futures_util::future::join_all;

use super::method_job::failed;
use super::run::{Interruption, JobRun};
use super::store::{DeviceChange, JobDevice, JobEnd, JobLease};
use crate::hub::Hub;
use crate::registry::{IfMatch, not_found};
use crate::store::{Applied, Change, ChangeGroup, Refusal, Refused, StoreError};
use crate::twins::{ServiceUpdate, UpdateMode};
use crate::uncancelled::run_uncancelled;

/// Maximum number of twins in one commit, so that other writers do not wait long.
const BATCH: usize = 64;
/// How long to wait before a batch whose write failed is written again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a batch did.
enum Batch {
    /// These twins were not changed.
    Refused(Vec<Refused>),
    /// The store failed, and no twin was changed.
    Failed(StoreError),
}

impl JobRun {
    /// Changes the twins of the job, until all rows have ended, or the job has.
    pub(super) async fn change_twins(&self, body: &str) -> Result<(), Interruption> {
        let Ok(change) = serde_json::from_str::<TwinChange>(body) else {
            return Err(self.fail("The stored change of the job cannot be read.".to_owned()).await);
        };
        let (lease, limit) = (self.held.lease, self.node.limits.concurrent_devices.clamp(1, BATCH));
        let mut after: Option<IdentityId> = None;
        loop {
            if self.active.is_cancelled() {
                return Ok(());
            }
            if self.stop.is_requested() || self.node.is_stopping() {
                return Err(Interruption::Stopped);
            }
            let page =
                self.retry(|| self.node.store.open_job_devices(lease.number, after.as_ref(), limit)).await?;
            let Some(last) = page.last() else { return self.end(JobEnd::Completed).await };
            if self.left().is_zero() {
                return self.end(JobEnd::Completed).await;
            }
            after = Some(last.id.clone());
            self.change_batch(page, &change).await?;
        }
    }

    /// Changes the twins of some rows.
    async fn change_batch(&self, page: Vec<JobDevice>, change: &TwinChange) -> Result<(), Interruption> {
        let number = u32::try_from(page.len()).unwrap_or(1);
        let devices = &self.node.active.devices;
        // A node whose limit is smaller than a batch works on the batch alone.
        let number =
            number.min(u32::try_from(self.node.limits.concurrent_devices_per_node).unwrap_or(number));
        let _permits = devices.acquire_many(number.max(1)).await.map_err(|_| Interruption::Stopped)?;
        let (gone, there): (Vec<_>, Vec<_>) = page.into_iter().partition(|device| !device.exists);
        let mut changes: Vec<DeviceChange> = gone.into_iter().map(|device| gone_row(device.id)).collect();
        let refused = loop {
            let hub = self.node.hub()?;
            let (worker, lease) = (hub.clone(), self.held.lease);
            let (batch, change) = (there.clone(), change.clone());
            let written = run_uncancelled(&self.node.metrics.panics, async move {
                match worker.change_twins_of_job(lease, batch, change).await {
                    Batch::Refused(refused) => Ok(refused),
                    Batch::Failed(error) => Err(error),
                }
            });
            match written.await {
                Ok(refused) => break refused,
                Err(StoreError::Closed) => return Err(Interruption::Stopped),
                Err(error) => {
                    let job = &self.held.job.definition.id;
                    crate::log_limited!(error, "a job cannot change twins; it tries again", "store_failed", %job, %error);
                    if self.stop.clone().requested_within(RETRY_DELAY).await {
                        return Err(Interruption::Stopped);
                    }
                }
            }
        };
        self.node.metrics.jobs.count_devices("succeeded", (there.len() - refused.len()) as u64);
        // Rows that are not open any more have ended in an earlier attempt, or with their job.
        changes.extend(refused.into_iter().filter_map(|Refused { id, reason }| match reason {
            Refusal::JobDeviceNotOpen => None,
            Refusal::NotFound => Some(gone_row(id)),
            reason => {
                let end = failed(&Refused { id: id.clone(), reason }.into());
                Some(DeviceChange::End(id, end))
            }
        }));
        if !changes.is_empty() {
            self.write(changes).await?;
        }
        Ok(())
    }
}

/// The end of the row of a device that does not exist any more.
fn gone_row(id: IdentityId) -> DeviceChange {
    let end = failed(&not_found(&id));
    DeviceChange::End(id, end)
}

impl Hub {
    /// Changes twins, and ends their rows, in one commit. Then notifies the devices, as for a single change.
    async fn change_twins_of_job(
        &self,
        lease: JobLease,
        devices: Vec<JobDevice>,
        change: TwinChange,
    ) -> Batch {
        if devices.is_empty() {
            return Batch::Refused(Vec::new());
        }
        let _order_locks = self.identity_locks.lock_all(devices.iter().map(|device| &device.id)).await;
        let now = self.clock.now();
        let mut updates = Vec::with_capacity(devices.len());
        let groups = devices.iter().map(|device| {
            let update = ServiceUpdate::new(UpdateMode::Merge, change.clone());
            let function = update.change_fn(IfMatch::Any, now, self.limits.twins.clone());
            updates.push(update);
            ChangeGroup(vec![
                Change::JobDevice { id: device.id.clone(), lease, now },
                Change::Twin { id: device.id.clone(), change: function },
            ])
        });
        let groups: Vec<ChangeGroup> = groups.collect();
        let outcomes = match self.store.apply(groups).await {
            Ok(outcomes) => outcomes,
            Err(error) => return Batch::Failed(error),
        };
        let (mut refused, mut finished) = (Vec::new(), Vec::new());
        for (update, outcome) in updates.iter().zip(outcomes) {
            match outcome {
                Ok(Applied { mut twins }) => {
                    if let Some((identity, twin)) = twins.pop() {
                        finished.push(async move { self.updated_by_service(update, &identity, &twin).await });
                    }
                }
                Err(reason) => refused.push(reason),
            }
        }
        // Together, so that their events share commits.
        join_all(finished).await;
        Batch::Refused(refused)
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::ErrorCode;

    use super::*;

    #[test]
    fn a_device_and_a_module_that_are_gone_have_their_errors() {
        for (id, expected) in [("d", ErrorCode::DeviceNotFound), ("d/m", ErrorCode::ModuleNotFound)] {
            let DeviceChange::End(_, super::super::store::DeviceEnd::Failed { code, .. }) =
                gone_row(IdentityId::parse(id).unwrap())
            else {
                panic!("{id} is not failed")
            };
            assert_eq!(code, expected.name());
        }
    }
}
