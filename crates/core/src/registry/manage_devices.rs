//! Operations on device identities.

use std::sync::Arc;

use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, HubError, IdentityId};

use crate::hub::Hub;
use crate::registry::{Identity, IfMatch, apply_device, to_device};
use crate::store::store_failed;

impl Hub {
    /// Returns a device.
    pub async fn get_device(&self, id: &DeviceId) -> Result<Device, HubError> {
        Ok(self.present_device(&self.identity(&IdentityId::device(id)).await?))
    }

    /// Returns the first `top` devices, ordered by id.
    pub async fn list_devices(&self, top: usize) -> Result<Vec<Device>, HubError> {
        let identities = self.store.devices(top).await.map_err(store_failed)?;
        Ok(identities.iter().map(|identity| self.present_device(identity)).collect())
    }

    /// Creates a device (`if_match` is `None`) or updates an existing one.
    pub async fn put_device(
        self: &Arc<Self>,
        id: &DeviceId,
        request: &Device,
        if_match: Option<&IfMatch>,
    ) -> Result<Device, HubError> {
        let id = IdentityId::device(id);
        let apply = |old: Option<&Identity>, now| apply_device(&id, request, old, now);
        Ok(self.present_device(&self.put_identity(&id, if_match, apply).await?))
    }

    /// Deletes a device with its modules and all their data, and closes their connections.
    pub async fn delete_device(self: &Arc<Self>, id: &DeviceId, if_match: &IfMatch) -> Result<(), HubError> {
        self.delete_identity(&IdentityId::device(id), if_match).await
    }

    pub(crate) fn present_device(&self, identity: &Identity) -> Device {
        let (identity, connected) = self.with_current_activity(identity);
        to_device(&identity, connected)
    }
}
