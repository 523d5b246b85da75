//! Operations on module identities.

use std::sync::Arc;

use ferrohub_model::module::Module;
use ferrohub_model::{DeviceId, HubError, IdentityId, ModuleId};

use crate::callers::ModuleCaller;
use crate::hub::Hub;
use crate::registry::system_module_error;
use crate::registry::{Authentication, Identity, IfMatch, apply_module, is_system_module, to_module};
use crate::store::store_failed;

impl Hub {
    /// Returns a module.
    pub async fn get_module(&self, device: &DeviceId, module: &ModuleId) -> Result<Module, HubError> {
        let id = IdentityId::module(device, module);
        // If the device does not exist either, the error names the device.
        match self.store.identity(&id).await.map_err(store_failed)? {
            Some(identity) => Ok(self.present_module(&identity)),
            None => {
                self.identity(&IdentityId::device(device)).await?;
                Err(crate::registry::not_found(&id))
            }
        }
    }

    /// Returns the modules of a device, ordered by id.
    pub async fn list_modules(&self, device: &DeviceId) -> Result<Vec<Module>, HubError> {
        self.identity(&IdentityId::device(device)).await?;
        let identities = self.store.modules(device).await.map_err(store_failed)?;
        Ok(identities.iter().map(|identity| self.present_module(identity)).collect())
    }

    /// Creates a module (`if_match` is `None`) or updates an existing one. A device may replace the keys of its system
    /// modules, because Edge does so at every start, but change nothing else of them.
    pub async fn put_module(
        self: &Arc<Self>,
        caller: ModuleCaller,
        device: &DeviceId,
        module: &ModuleId,
        request: &Module,
        if_match: Option<&IfMatch>,
    ) -> Result<Module, HubError> {
        let id = IdentityId::module(device, module);
        let is_restricted = caller == ModuleCaller::Device && is_system_module(&id);
        let apply = |old: Option<&Identity>, now| {
            let new = apply_module(&id, request, old, now)?;
            let has_keys = matches!(new.authentication, Authentication::Sas { .. });
            let keeps_owner = old.is_some_and(|old| old.managed_by == new.managed_by);
            if is_restricted && !(has_keys && keeps_owner) {
                return Err(system_module_error(&id));
            }
            Ok(new)
        };
        Ok(self.present_module(&self.put_identity(&id, if_match, apply).await?))
    }

    /// Deletes a module with all its data, and closes its connection.
    pub async fn delete_module(
        self: &Arc<Self>,
        device: &DeviceId,
        module: &ModuleId,
        if_match: &IfMatch,
    ) -> Result<(), HubError> {
        self.delete_identity(&IdentityId::module(device, module), if_match).await
    }

    pub(crate) fn present_module(&self, identity: &Identity) -> Module {
        let (identity, connected) = self.with_current_activity(identity);
        to_module(&identity, connected)
    }
}
