//! Key rotation of devices and modules, in one operation.

use std::sync::Arc;

use ferrohub_model::device::Device;
use ferrohub_model::module::Module;
use ferrohub_model::{DeviceId, HubError, IdentityId, KeyChange, ModuleId};
use tracing::info;

use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::operations::Operation;
use crate::registry::CloseConnections;
use crate::registry::{Identity, IfMatch, fresh_etag, rotate_key};

impl ServiceCaller {
    /// Replaces one of a device's two keys with a new key, or swaps the keys. Closes the device's connection if it
    /// authenticated with a key that was removed.
    pub async fn regenerate_device_key(
        &self,
        device: &DeviceId,
        change: KeyChange,
        if_match: &IfMatch,
    ) -> Result<Device, HubError> {
        let hub = self.permit(Operation::RegenerateDeviceKey)?;
        let changed = hub.change_key(&IdentityId::device(device), change, if_match).await?;
        Ok(hub.present_device(&changed))
    }

    /// Does the same as [`regenerate_device_key`](Self::regenerate_device_key) for a module.
    pub async fn regenerate_module_key(
        &self,
        device: &DeviceId,
        module: &ModuleId,
        change: KeyChange,
        if_match: &IfMatch,
    ) -> Result<Module, HubError> {
        let hub = self.permit(Operation::RegenerateModuleKey)?;
        let changed = hub.change_key(&IdentityId::module(device, module), change, if_match).await?;
        Ok(hub.present_module(&changed))
    }
}

impl Hub {
    pub(super) async fn change_key(
        self: &Arc<Self>,
        id: &IdentityId,
        change: KeyChange,
        if_match: &IfMatch,
    ) -> Result<Identity, HubError> {
        let apply = |old: &Identity| {
            let (authentication, removed_keys) = rotate_key(&old.authentication, change)?;
            Ok((
                Identity { authentication, etag: fresh_etag(), ..old.clone() },
                removed_keys.into_iter().map(CloseConnections::UsingKey).collect(),
            ))
        };
        let new = self.replace_identity(id, if_match, apply).await?;
        info!(device = %id, ?change, "key changed");
        Ok(new)
    }
}
