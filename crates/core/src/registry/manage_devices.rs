//! Operations on device identities.

use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, HubError, IdentityId};

use crate::ServiceCaller;
use crate::hub::Hub;
use crate::operations::Operation;
use crate::registry::{DeviceFilter, Identity, IfMatch, apply_device, to_device};
use crate::store::store_failed;

/// A part of the list of devices.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePage {
    /// The devices in the order of their ids.
    pub devices: Vec<Device>,
    /// The last of them, if there are further devices: the next page starts after it.
    pub next: Option<DeviceId>,
    /// The number of all devices of the hub.
    pub total: u64,
}

fn device_id(identity: &Identity) -> Option<DeviceId> {
    DeviceId::new(identity.id.device_str()).ok()
}

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

    /// Returns the first `top` devices that match the filter, ordered by id, starting after the id `after`.
    pub async fn list_devices(
        &self,
        filter: &DeviceFilter,
        after: Option<&DeviceId>,
        top: usize,
    ) -> Result<DevicePage, HubError> {
        let hub = self.permit(Operation::ListDevices)?;
        if filter.connected.is_some() && after.is_none() {
            // The filter reads the store, which may be seconds behind. Once for a list is enough: its pages are read one
            // after the other anyway.
            hub.recent_activity.write(&*hub.store).await;
        }
        // One more tells whether there is a next page.
        let mut found =
            hub.store.devices(filter, after, top.saturating_add(1)).await.map_err(store_failed)?;
        let is_last = found.len() <= top;
        found.truncate(top);
        let next = if is_last { None } else { found.last().and_then(device_id) };
        let devices = found.iter().map(|identity| hub.present_device(identity)).collect();
        let total = hub.store.device_counts().await.map_err(store_failed)?.total;
        Ok(DevicePage { devices, next, total })
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
