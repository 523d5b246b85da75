//! What all configurations mean for one device and its modules.
//!
//! This is a function of the configurations and of the twins: it reads no clock and writes nothing. A configuration whose
//! settings a twin cannot have, because a limit would be exceeded, is left out for this device, and those with a lower
//! priority count. So one configuration that is too large neither stops others nor is tried again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferrohub_model::configuration::{ConfigurationStatus, TwinConfiguration};
use ferrohub_model::twin::Properties;
use ferrohub_model::{HubError, IdentityId, ModuleId, Timestamp};

use super::content::EDGE_AGENT;
use super::diff::merge_patch;
use super::layers::{Layer, owned_paths, with_layers};
use super::{ConfigurationSet, Content, ParsedConfiguration, Setting};
use crate::registry::Identity;
use crate::twins::{Configured, TwinDocument, TwinLimits};

/// What configurations mean for one twin.
#[derive(Debug, Clone)]
pub struct TwinPlan {
    /// The twin.
    pub id: IdentityId,
    /// Whether the module must be created first.
    pub is_new: bool,
    /// The configurations that set its properties, each before those that override it.
    layers: Vec<Arc<ParsedConfiguration>>,
    /// What the twin says about configurations afterwards.
    configured: Configured,
}

/// What configurations mean for a device and its modules.
#[derive(Debug, Clone, Default)]
pub struct DevicePlan {
    /// The twins that change.
    pub changes: Vec<TwinPlan>,
    /// The configurations that the device cannot have, each with the reason.
    pub refused: Vec<(Arc<ParsedConfiguration>, HubError)>,
}

/// What a plan depends on beside the twins.
#[derive(Debug, Clone, Copy)]
pub struct PlanLimits<'a> {
    /// The limits of a twin.
    pub twins: &'a TwinLimits,
    /// Maximum number of modules of a device.
    pub modules: u64,
}

impl TwinPlan {
    fn layers(&self) -> Vec<Layer<'_>> {
        self.layers
            .iter()
            .map(|configuration| Layer {
                configuration: configuration.id().as_str(),
                settings: settings_for(&configuration.content, &self.id),
            })
            .collect()
    }

    /// Returns the twin as this plan makes it, and the change of its desired properties; `None` if nothing changes.
    ///
    /// # Errors
    /// `ArgumentInvalid` if a limit of the twin would be exceeded.
    pub fn apply(
        &self,
        twin: &TwinDocument,
        now: Timestamp,
        limits: &TwinLimits,
    ) -> Result<Option<(TwinDocument, Properties)>, HubError> {
        let old = &twin.desired.values;
        let new = with_layers(old, twin.configured.paths.keys(), &self.layers());
        let patch = merge_patch(old, &new);
        if patch.is_empty() && twin.configured == self.configured {
            return Ok(None);
        }
        let new = twin.with_configured(&patch, self.configured.clone(), now, limits)?;
        Ok(Some((new, patch)))
    }
}

/// Returns the settings of a content for one twin.
fn settings_for<'a>(content: &'a Content, id: &IdentityId) -> &'a [Setting] {
    match (content, id.module_str()) {
        (Content::Devices(settings), None) | (Content::Modules(settings), Some(_)) => settings,
        (Content::Edge(modules), Some(module)) => {
            modules.iter().find(|(id, _)| id.as_str() == module).map_or(&[], |(_, settings)| settings)
        }
        _ => &[],
    }
}

/// Returns what the configurations mean for a device and its modules. `twins` has the device first.
#[must_use]
pub fn plan_device(
    set: &ConfigurationSet,
    twins: &[(Identity, TwinDocument)],
    limits: PlanLimits<'_>,
    now: Timestamp,
) -> DevicePlan {
    let Some((device, _)) = twins.first() else { return DevicePlan::default() };
    let targets = Targets::of(set, twins);
    let all: BTreeSet<usize> = targets.configurations().collect();
    match targets.plan(device, twins, &all, limits, now) {
        Ok(changes) => DevicePlan { changes, refused: Vec::new() },
        Err(_) => {
            // From the highest priority on, each that fits together with those above it.
            let (mut kept, mut refused) = (BTreeSet::new(), Vec::new());
            let mut changes = Vec::new();
            for index in all.into_iter().rev() {
                kept.insert(index);
                match targets.plan(device, twins, &kept, limits, now) {
                    Ok(planned) => changes = planned,
                    Err(error) => {
                        kept.remove(&index);
                        refused.extend(
                            set.ordered().get(index).map(|configuration| (configuration.clone(), error)),
                        );
                    }
                }
            }
            if kept.is_empty() {
                // What earlier configurations have set is removed, which makes a twin only smaller.
                changes = targets.plan(device, twins, &kept, limits, now).unwrap_or_default();
            }
            DevicePlan { changes, refused }
        }
    }
}

/// Which configurations match which twins of a device. Configurations are numbers of [`ConfigurationSet::ordered`].
struct Targets<'a> {
    set: &'a ConfigurationSet,
    /// The edge deployments that match the device.
    deployments: Vec<usize>,
    /// Of the other configurations, those that match each twin.
    others: BTreeMap<IdentityId, Vec<usize>>,
}

impl<'a> Targets<'a> {
    fn of(set: &'a ConfigurationSet, twins: &[(Identity, TwinDocument)]) -> Self {
        let (mut deployments, mut others) = (Vec::new(), BTreeMap::<_, Vec<usize>>::new());
        for (index, configuration) in set.ordered().iter().enumerate() {
            for (identity, twin) in twins {
                let is_device = identity.id.module_str().is_none();
                let is_target = match &configuration.content {
                    Content::Devices(_) => is_device,
                    Content::Modules(_) => !is_device,
                    Content::Edge(_) => is_device && identity.iot_edge,
                };
                if !is_target || !configuration.condition.matches(identity, twin) {
                    continue;
                }
                match &configuration.content {
                    Content::Edge(_) => deployments.push(index),
                    _ => others.entry(identity.id.clone()).or_default().push(index),
                }
            }
        }
        Self { set, deployments, others }
    }

    fn configurations(&self) -> impl Iterator<Item = usize> + '_ {
        self.deployments.iter().chain(self.others.values().flatten()).copied()
    }

    fn get(&self, index: usize) -> Option<&'a Arc<ParsedConfiguration>> {
        self.set.ordered().get(index)
    }

    /// Returns the deployments that take effect: the one of the highest priority that is not layered, and the layered ones
    /// above it. Without the former there are no system modules to run the others.
    fn effective_deployments(&self, kept: &BTreeSet<usize>) -> Vec<usize> {
        let is_base =
            |index: &usize| self.get(*index).is_some_and(|found| found.content.is_base_deployment());
        let kept: Vec<usize> =
            self.deployments.iter().copied().filter(|index| kept.contains(index)).collect();
        match kept.iter().rposition(is_base) {
            Some(base) => kept.get(base..).unwrap_or_default().to_vec(),
            None => Vec::new(),
        }
    }

    /// Returns the twins that change if only these configurations count. The others that match are `Targeted`.
    fn plan(
        &self,
        device: &Identity,
        twins: &[(Identity, TwinDocument)],
        kept: &BTreeSet<usize>,
        limits: PlanLimits<'_>,
        now: Timestamp,
    ) -> Result<Vec<TwinPlan>, HubError> {
        let effective = self.effective_deployments(kept);
        let existing: BTreeSet<&IdentityId> = twins.iter().map(|(identity, _)| &identity.id).collect();
        let mut missing = BTreeSet::new();
        for configuration in effective.iter().filter_map(|index| self.get(*index)) {
            let Content::Edge(modules) = &configuration.content else { continue };
            let ids = modules.keys().filter_map(|module| module_of(device, module));
            missing.extend(ids.filter(|id| !existing.contains(id)));
        }
        let modules = (twins.len().saturating_sub(1) + missing.len()) as u64;
        if !missing.is_empty() && modules > limits.modules {
            let text = format!("The device would have {modules} modules; the maximum is {}.", limits.modules);
            return Err(HubError::new(ferrohub_model::ErrorCode::TooManyModulesOnDevice, text));
        }
        let new = TwinDocument::default();
        let all = twins.iter().map(|(identity, twin)| (&identity.id, twin, false));
        let all = all.chain(missing.iter().map(|id| (id, &new, true)));
        let (mut changes, mut applied_deployments) = (Vec::new(), BTreeSet::new());
        let mut agent = None;
        for (id, twin, is_new) in all {
            let plan = self.plan_twin(id, is_new, kept, &effective);
            applied_deployments.extend(plan.configured.paths.values().cloned());
            if id.module_str() == Some(EDGE_AGENT) {
                // Its twin also has the statuses of deployments, which are known at the end.
                agent = Some((plan, twin));
                continue;
            }
            if plan.apply(twin, now, limits.twins)?.is_some() || is_new {
                changes.push(plan);
            }
        }
        if let Some((mut plan, twin)) = agent {
            for configuration in self.deployments.iter().filter_map(|index| self.get(*index)) {
                let id = configuration.id().as_str();
                let status = status(applied_deployments.contains(id));
                plan.configured.configurations.insert(id.to_owned(), status);
            }
            if plan.apply(twin, now, limits.twins)?.is_some() {
                changes.push(plan);
            }
        }
        Ok(changes)
    }

    fn plan_twin(
        &self,
        id: &IdentityId,
        is_new: bool,
        kept: &BTreeSet<usize>,
        effective: &[usize],
    ) -> TwinPlan {
        let own = self.others.get(id).map_or(&[][..], Vec::as_slice);
        let mut indexes: BTreeSet<usize> = own.iter().copied().filter(|index| kept.contains(index)).collect();
        if id.module_str().is_some() {
            indexes.extend(effective);
        }
        let layers: Vec<_> = indexes
            .into_iter()
            .filter_map(|index| self.get(index))
            .filter(|configuration| !settings_for(&configuration.content, id).is_empty())
            .cloned()
            .collect();
        let mut plan = TwinPlan { id: id.clone(), is_new, layers, configured: Configured::default() };
        plan.configured.paths = owned_paths(&plan.layers());
        for configuration in own.iter().filter_map(|index| self.get(*index)) {
            let id = configuration.id().as_str();
            let has_path = plan.configured.paths.values().any(|owner| owner == id);
            plan.configured.configurations.insert(id.to_owned(), status(has_path));
        }
        plan
    }
}

fn status(applied: bool) -> TwinConfiguration {
    let status = if applied { ConfigurationStatus::Applied } else { ConfigurationStatus::Targeted };
    TwinConfiguration { status }
}

fn module_of(device: &Identity, module: &ModuleId) -> Option<IdentityId> {
    let device = ferrohub_model::DeviceId::new(device.id.device_str()).ok()?;
    Some(IdentityId::module(&device, module))
}
