//! Writes changes of desired properties: one commit for several devices, and one write for each twin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ferrohub_model::twin::{Properties, TwinChange};
use ferrohub_model::{DeviceId, HubError, IdentityId};
use tracing::debug;

use super::pending::lock;
use super::{DevicePlan, TwinPlan};
use crate::hub::Hub;
use crate::metrics::count;
use crate::registry::{edge_module, log_created};
use crate::store::{Applied, Change, ChangeGroup, Refused, store_failed};
use crate::twins::{TwinDocument, UpdateMode};

/// Computes a twin and the change of its desired properties; `None` if nothing changes.
pub(super) type TwinFn =
    Box<dyn Fn(&TwinDocument) -> Result<Option<(TwinDocument, Properties)>, HubError> + Send>;

/// A write of one twin.
pub(super) struct TwinWrite {
    pub(super) id: IdentityId,
    /// Whether the module must be created first.
    pub(super) is_new: bool,
    pub(super) change: TwinFn,
}

/// The modules that a group creates, and the change of each twin, which is known only inside the transaction.
#[derive(Default)]
struct Prepared {
    created: Vec<IdentityId>,
    patches: BTreeMap<IdentityId, Arc<Mutex<Properties>>>,
}

impl Hub {
    /// Writes plans. Returns the devices that somebody else changed meanwhile: they must be evaluated again.
    pub(super) async fn write_plans(
        &self,
        plans: Vec<(DeviceId, DevicePlan)>,
    ) -> Result<Vec<DeviceId>, HubError> {
        let plans: Vec<_> = plans.into_iter().filter(|(_, plan)| !plan.changes.is_empty()).collect();
        let (devices, plans): (Vec<_>, Vec<_>) = plans.into_iter().unzip();
        let groups =
            plans.into_iter().map(|plan| plan.changes.into_iter().map(|twin| self.planned(twin)).collect());
        let written = self.write_twins(groups.collect()).await?;
        let mut again = Vec::new();
        for (device, written) in devices.into_iter().zip(written) {
            match written {
                Ok(()) => debug!(device = %device, "configurations changed the device"),
                Err(_) => again.push(device),
            }
        }
        Ok(again)
    }

    fn planned(&self, plan: TwinPlan) -> TwinWrite {
        let (now, limits) = (self.clock.now(), self.limits.twins.clone());
        let (id, is_new) = (plan.id.clone(), plan.is_new);
        TwinWrite { id, is_new, change: Box::new(move |twin| plan.apply(twin, now, &limits)) }
    }

    /// Writes groups of twins in one commit, each as a whole or not at all. Notifies the devices, and emits the events.
    pub(super) async fn write_twins(
        &self,
        writes: Vec<Vec<TwinWrite>>,
    ) -> Result<Vec<Result<(), Refused>>, HubError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<IdentityId> = writes.iter().flatten().map(|write| write.id.clone()).collect();
        // Keeps the order of notifications and events, as for a single change.
        let _order_locks = self.identity_locks.lock_all(ids.iter()).await;
        let (groups, prepared): (Vec<_>, Vec<_>) =
            writes.into_iter().map(|group| self.prepare_group(group)).unzip();
        let written = self.store.apply(groups).await.map_err(store_failed)?;
        let mut outcomes = Vec::with_capacity(written.len());
        for (prepared, written) in prepared.into_iter().zip(written) {
            outcomes.push(match written {
                Ok(applied) => {
                    self.twins_written(&prepared, applied).await;
                    Ok(())
                }
                Err(refused) => Err(refused),
            });
        }
        Ok(outcomes)
    }

    fn prepare_group(&self, writes: Vec<TwinWrite>) -> (ChangeGroup, Prepared) {
        let (mut changes, mut prepared) = (Vec::new(), Prepared::default());
        for TwinWrite { id, is_new, change } in writes {
            if is_new {
                let identity = edge_module(id.clone(), self.clock.now());
                changes.push(Change::Create { identity, limit: self.limits.modules_per_device });
                prepared.created.push(id.clone());
            }
            let patch = Arc::<Mutex<Properties>>::default();
            prepared.patches.insert(id.clone(), patch.clone());
            let change = move |twin: &TwinDocument| {
                let (new, changed) = change(twin)?.unwrap_or_else(|| (twin.clone(), Properties::new()));
                *lock(&patch) = changed;
                Ok(new)
            };
            changes.push(Change::Twin { id, change: Box::new(change) });
        }
        (ChangeGroup(changes), prepared)
    }

    async fn twins_written(&self, prepared: &Prepared, applied: Applied) {
        for (identity, twin) in applied.twins {
            if prepared.created.contains(&identity.id) {
                log_created(&identity);
                self.identity_created(&identity, &twin).await;
            }
            let patch = prepared.patches.get(&identity.id).map(|patch| std::mem::take(&mut *lock(patch)));
            let Some(patch) = patch.filter(|patch| !patch.is_empty()) else { continue };
            count(&self.metrics.twin_operations, "changed_by_configuration");
            let change = TwinChange::desired(patch);
            self.twin_changed(UpdateMode::Merge, &change, &identity, &twin).await;
        }
    }
}
