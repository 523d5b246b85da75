//! The operation that applies content to one edge device, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrohub_model::configuration::ConfigurationContent;
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, ModuleId};
use tracing::info;

use super::diff::merge_patch;
use super::layers::{Layer, with_layers};
use super::pending::lock;
use super::write::TwinWrite;
use super::{Content, Setting, invalid_content};
use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::operations::Operation;
use crate::store::{Refusal, store_failed};
use crate::twins::TwinDocument;
use crate::uncancelled::run_uncancelled;

/// How often the operation is tried again if modules are created or deleted meanwhile.
const MAX_TRIES: usize = 5;

impl ServiceCaller {
    /// Sets desired properties of the modules of an edge device, and creates the modules that do not exist. Deployments that
    /// match the device override them. Runs to completion even if the caller is cancelled.
    ///
    /// # Errors
    ///
    /// `DeviceNotFound`; `InvalidConfigurationContent` if the content is not for modules of an edge device, or the device is
    /// not one; `ApplyConfigurationAlreadyInProgressOnDevice`.
    pub async fn apply_configuration_content(
        &self,
        device: &DeviceId,
        content: &ConfigurationContent,
    ) -> Result<(), HubError> {
        let hub = self.permit(Operation::ApplyConfigurationContent)?;
        let Content::Edge(modules) = Content::parse(content, &hub.limits.twins)? else {
            return Err(invalid_content(
                "Only modulesContent can be applied to a device. Settings of the device itself are a change of its twin.",
            ));
        };
        let worker = (hub.clone(), device.clone());
        run_uncancelled(&hub.metrics.panics, async move {
            let (hub, device) = worker;
            let _guard = hub.begin_to_apply(&device)?;
            hub.apply_modules(&device, Arc::new(modules)).await
        })
        .await
    }
}

/// Marks a device to which content is applied, until it is dropped.
struct Applying<'a> {
    hub: &'a Hub,
    device: DeviceId,
}

impl Drop for Applying<'_> {
    fn drop(&mut self) {
        lock(&self.hub.configurations.applying).remove(&self.device);
    }
}

impl Hub {
    fn begin_to_apply(&self, device: &DeviceId) -> Result<Applying<'_>, HubError> {
        if lock(&self.configurations.applying).insert(device.clone()) {
            return Ok(Applying { hub: self, device: device.clone() });
        }
        let text = format!("Another request applies content to the device {device} now; try again later.");
        Err(HubError::new(ErrorCode::ApplyConfigurationAlreadyInProgressOnDevice, text))
    }

    async fn apply_modules(
        &self,
        device: &DeviceId,
        modules: Arc<BTreeMap<ModuleId, Vec<Setting>>>,
    ) -> Result<(), HubError> {
        for tries_left in (0..MAX_TRIES).rev() {
            let twins = self.store.device_twins(device).await.map_err(store_failed)?;
            let Some((identity, _)) = twins.first() else {
                return Err(crate::registry::not_found(&IdentityId::device(device)));
            };
            if !identity.iot_edge {
                return Err(invalid_content(format!(
                    "The device {device} is not an edge device, so it has no modules that a deployment can set."
                )));
            }
            let writes = modules.keys().map(|module| {
                let id = IdentityId::module(device, module);
                let is_new = !twins.iter().any(|(identity, _)| identity.id == id);
                self.settings_write(id, is_new, module.clone(), modules.clone())
            });
            let written = self.write_twins(vec![writes.collect()]).await?.pop();
            match written {
                Some(Err(refused))
                    if tries_left > 0 && matches!(refused.reason, Refusal::Exists | Refusal::NotFound) => {}
                Some(Err(refused)) => return Err(refused.into()),
                Some(Ok(())) | None => break,
            }
        }
        info!(device = %device, modules = modules.len(), "configuration content applied");
        self.configurations.identity_changed(&IdentityId::device(device));
        Ok(())
    }

    fn settings_write(
        &self,
        id: IdentityId,
        is_new: bool,
        module: ModuleId,
        modules: Arc<BTreeMap<ModuleId, Vec<Setting>>>,
    ) -> TwinWrite {
        let (now, limits) = (self.clock.now(), self.limits.twins.clone());
        let change = move |twin: &TwinDocument| {
            let settings = modules.get(&module).map_or(&[][..], Vec::as_slice);
            let layer = Layer { configuration: "", settings };
            let new = with_layers(&twin.desired.values, std::iter::empty(), &[layer]);
            let patch = merge_patch(&twin.desired.values, &new);
            let new = twin.with_configured(&patch, twin.configured.clone(), now, &limits)?;
            Ok(Some((new, patch)))
        };
        TwinWrite { id, is_new, change: Box::new(change) }
    }
}
