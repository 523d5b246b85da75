//! Operations on device identities.

use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, HubError, IdentityId};

use crate::ServiceCaller;
use crate::hub::Hub;
use crate::operations::Operation;
use crate::registry::{Identity, IfMatch, apply_device, to_device};
use crate::store::store_failed;

impl ServiceCaller {
    /// Returns a device.
    ///
    /// # Errors
    ///
    /// `DeviceNotFound`.
    pub async fn get_device(&self, id: &DeviceId) -> Result<Device, HubError> {
        let hub = self.permit(Operation::GetDevice)?;
        Ok(hub.present_device(&hub.identity(&IdentityId::device(id)).await?))
    }

    /// Returns the first `top` devices, ordered by id, and the number of all devices.
    pub async fn list_devices(&self, top: usize) -> Result<(Vec<Device>, u64), HubError> {
        let hub = self.permit(Operation::ListDevices)?;
        let identities = hub.store.devices(top).await.map_err(store_failed)?;
        let devices = identities.iter().map(|identity| hub.present_device(identity)).collect();
        let counts = hub.store.device_counts().await.map_err(store_failed)?;
        Ok((devices, counts.total))
    }

    /// Creates a device (`if_match` is `None`) or updates an existing one.
    pub async fn put_device(
        &self,
        id: &DeviceId,
        request: &Device,
        if_match: Option<&IfMatch>,
    ) -> Result<Device, HubError> {
        let hub = self.permit(Operation::PutDevice)?;
        let id = IdentityId::device(id);
        let apply = |old: Option<&Identity>, now| apply_device(&id, request, old, now);
        Ok(hub.present_device(&hub.put_identity(&id, if_match, apply).await?))
    }

    /// Deletes a device with its modules and all their data, and closes their connections.
    pub async fn delete_device(&self, id: &DeviceId, if_match: &IfMatch) -> Result<(), HubError> {
        let hub = self.permit(Operation::DeleteDevice)?;
        hub.delete_identity(&IdentityId::device(id), if_match).await
    }
}

impl Hub {
    pub(super) fn present_device(&self, identity: &Identity) -> Device {
        let (identity, connected) = self.with_current_activity(identity);
        to_device(&identity, connected)
    }
}
