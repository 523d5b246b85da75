//! Operations on module identities, for services and for devices, which manage their own modules.

use ferrohub_model::module::Module;
use ferrohub_model::{DeviceId, HubError, IdentityId, ModuleId};

use crate::callers::{DeviceCaller, ServiceCaller};
use crate::hub::Hub;
use crate::operations::Operation;
use crate::registry::{
    Authentication, Identity, IfMatch, apply_module, is_system_module, not_found, system_module_error,
    to_module,
};
use crate::store::store_failed;

/// Number of modules that one read of the store returns.
const PAGE_SIZE: usize = 1000;

impl ServiceCaller {
    /// Returns a module.
    ///
    /// # Errors
    ///
    /// `DeviceNotFound` if the device does not exist, otherwise `ModuleNotFound`.
    pub async fn get_module(&self, device: &DeviceId, module: &ModuleId) -> Result<Module, HubError> {
        self.permit(Operation::GetModule)?.module(device, module).await
    }

    /// Returns the modules of a device, ordered by id.
    pub async fn list_modules(&self, device: &DeviceId) -> Result<Vec<Module>, HubError> {
        self.permit(Operation::ListModules)?.modules(device).await
    }

    /// Creates a module (`if_match` is `None`) or updates an existing one.
    pub async fn put_module(
        &self,
        device: &DeviceId,
        module: &ModuleId,
        request: &Module,
        if_match: Option<&IfMatch>,
    ) -> Result<Module, HubError> {
        let hub = self.permit(Operation::PutModule)?;
        let id = IdentityId::module(device, module);
        let apply = |old: Option<&Identity>, now| apply_module(&id, request, old, now);
        Ok(hub.present_module(&hub.put_identity(&id, if_match, apply).await?))
    }

    /// Deletes a module with all its data, and closes its connection.
    pub async fn delete_module(
        &self,
        device: &DeviceId,
        module: &ModuleId,
        if_match: &IfMatch,
    ) -> Result<(), HubError> {
        let hub = self.permit(Operation::DeleteModule)?;
        hub.delete_identity(&IdentityId::module(device, module), if_match).await
    }
}

impl DeviceCaller {
    /// Returns a module of the device.
    ///
    /// # Errors
    ///
    /// `ModuleNotFound`.
    pub async fn get_own_module(&self, module: &ModuleId) -> Result<Module, HubError> {
        self.permit(Operation::GetModule)?.module(&self.own_id()?, module).await
    }

    /// Returns the modules of the device, ordered by id.
    pub async fn list_own_modules(&self) -> Result<Vec<Module>, HubError> {
        self.permit(Operation::ListModules)?.modules(&self.own_id()?).await
    }

    /// Creates a module of the device (`if_match` is `None`) or updates an existing one. The device may replace the keys
    /// of its system modules, because Edge does so at every start, but change nothing else of them.
    pub async fn put_own_module(
        &self,
        module: &ModuleId,
        request: &Module,
        if_match: Option<&IfMatch>,
    ) -> Result<Module, HubError> {
        let hub = self.permit(Operation::PutModule)?;
        let id = IdentityId::module(&self.own_id()?, module);
        let is_restricted = is_system_module(&id);
        let apply = |old: Option<&Identity>, now| {
            let new = apply_module(&id, request, old, now)?;
            let has_keys = matches!(new.authentication, Authentication::Sas { .. });
            let keeps_owner = old.is_some_and(|old| old.managed_by == new.managed_by);
            if is_restricted && !(has_keys && keeps_owner) {
                return Err(system_module_error(&id));
            }
            Ok(new)
        };
        Ok(hub.present_module(&hub.put_identity(&id, if_match, apply).await?))
    }

    /// Deletes a module of the device with all its data, and closes its connection.
    pub async fn delete_own_module(&self, module: &ModuleId, if_match: &IfMatch) -> Result<(), HubError> {
        let hub = self.permit(Operation::DeleteModule)?;
        hub.delete_identity(&IdentityId::module(&self.own_id()?, module), if_match).await
    }

    fn own_id(&self) -> Result<DeviceId, HubError> {
        DeviceId::new(self.id().device_str()).map_err(|_| not_found(self.id()))
    }
}

impl Hub {
    async fn module(&self, device: &DeviceId, module: &ModuleId) -> Result<Module, HubError> {
        let id = IdentityId::module(device, module);
        // If the device does not exist either, the error names the device.
        match self.store.identity(&id).await.map_err(store_failed)? {
            Some(identity) => Ok(self.present_module(&identity)),
            None => {
                self.identity(&IdentityId::device(device)).await?;
                Err(not_found(&id))
            }
        }
    }

    async fn modules(&self, device: &DeviceId) -> Result<Vec<Module>, HubError> {
        self.identity(&IdentityId::device(device)).await?;
        let mut modules = Vec::new();
        let mut last = None;
        loop {
            let page = self.store.modules(device, last.as_ref(), PAGE_SIZE).await.map_err(store_failed)?;
            modules.extend(page.iter().map(|identity| self.present_module(identity)));
            let next = page.last().and_then(|identity| ModuleId::new(identity.id.module_str()?).ok());
            match next {
                Some(next) if page.len() == PAGE_SIZE => last = Some(next),
                _ => return Ok(modules),
            }
        }
    }

    pub(super) fn present_module(&self, identity: &Identity) -> Module {
        let (identity, connected) = self.with_current_activity(identity);
        to_module(&identity, connected)
    }
}
