//! Operations on device identities.

use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId};
use tracing::info;

use super::{Hub, store_failed};
use crate::connections::CloseReason;
use crate::registry::{Identity, IfMatch, apply, ends_connections, to_device};
use crate::store::Written;

/// How often an update whose caller does not care for the etag is tried again when others write between.
const MAX_TRIES: usize = 16;

fn not_found(id: &DeviceId) -> HubError {
    HubError::new(ErrorCode::DeviceNotFound, id.to_string())
}

fn wrong_etag() -> HubError {
    HubError::new(ErrorCode::PreconditionFailed, "Precondition failed: Invalid ETag")
}

impl Hub {
    /// One device.
    pub async fn get_device(&self, id: &DeviceId) -> Result<Device, HubError> {
        let identity = self.store.identity(&IdentityId::device(id)).await.map_err(store_failed)?;
        Ok(self.present(&identity.ok_or_else(|| not_found(id))?))
    }

    /// The first `top` devices in the order of their ids.
    pub async fn list_devices(&self, top: usize) -> Result<Vec<Device>, HubError> {
        let identities = self.store.devices(top).await.map_err(store_failed)?;
        Ok(identities.iter().map(|identity| self.present(identity)).collect())
    }

    /// Creates a device (no `if_match`) or changes one.
    pub async fn put_device(
        &self,
        id: &DeviceId,
        request: &Device,
        if_match: Option<&IfMatch>,
    ) -> Result<Device, HubError> {
        match if_match {
            None => self.create_device(id, request).await,
            Some(if_match) => self.update_device(id, request, if_match).await,
        }
    }

    async fn create_device(&self, id: &DeviceId, request: &Device) -> Result<Device, HubError> {
        let identity = apply(&IdentityId::device(id), request, None, self.clock.now())?;
        match self.store.create_identity(&identity, self.limits.devices).await.map_err(store_failed)? {
            Written::Done => {
                info!(device = %id, authentication = identity.authentication.kind().name(), "device created");
                Ok(self.present(&identity))
            }
            Written::Full => {
                Err(HubError::new(ErrorCode::TooManyDevices, "The hub holds as many devices as it may."))
            }
            Written::Conflict | Written::NotFound => {
                Err(HubError::new(ErrorCode::DeviceAlreadyExists, id.to_string()))
            }
        }
    }

    async fn update_device(
        &self,
        id: &DeviceId,
        request: &Device,
        if_match: &IfMatch,
    ) -> Result<Device, HubError> {
        let identity_id = IdentityId::device(id);
        for _ in 0..MAX_TRIES {
            let old = self
                .store
                .identity(&identity_id)
                .await
                .map_err(store_failed)?
                .ok_or_else(|| not_found(id))?;
            if !if_match.admits(&old.etag) {
                return Err(wrong_etag());
            }
            let new = apply(&identity_id, request, Some(&old), self.clock.now())?;
            match self.store.update_identity(&new, &old.etag).await.map_err(store_failed)? {
                Written::Done => {
                    if let Some(reason) = ends_connections(&old, &new) {
                        self.bus.disconnect(&identity_id, reason).await;
                    }
                    info!(device = %id, status = new.status.name(), "device changed");
                    return Ok(self.present(&new));
                }
                Written::NotFound => return Err(not_found(id)),
                // Somebody wrote between: look again.
                Written::Conflict | Written::Full => {}
            }
        }
        Err(wrong_etag())
    }

    /// Deletes a device, its modules and all that is kept for them, and disconnects them.
    pub async fn delete_device(&self, id: &DeviceId, if_match: &IfMatch) -> Result<(), HubError> {
        let identity_id = IdentityId::device(id);
        let etag = match if_match {
            IfMatch::Any => None,
            IfMatch::Etag(etag) => Some(etag.as_str()),
        };
        match self.store.delete_identity(&identity_id, etag).await.map_err(store_failed)? {
            Written::Done => {
                self.bus.disconnect(&identity_id, CloseReason::Deleted).await;
                info!(device = %id, "device deleted");
                Ok(())
            }
            Written::NotFound => Err(not_found(id)),
            Written::Conflict | Written::Full => Err(wrong_etag()),
        }
    }

    fn present(&self, identity: &Identity) -> Device {
        let connection = self.connections.get(&identity.id).filter(|c| c.closed().is_none());
        to_device(identity, connection.map(|c| (c.connected, c.last_activity())))
    }
}
