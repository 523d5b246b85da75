//! Devices, modules and their twins.

use async_trait::async_trait;
use ferrohub_core::registry::{DeviceCounts, DeviceFilter, Identity, RegistryStore};
use ferrohub_core::store::StoreError;
use ferrohub_core::twins::{TwinDocument, TwinStore};
use ferrohub_model::device::Status;
use ferrohub_model::{DeviceId, IdentityId, ModuleId};

use super::MemoryStore;

#[async_trait]
impl RegistryStore for MemoryStore {
    async fn device_counts(&self) -> Result<DeviceCounts, StoreError> {
        self.read(|state| {
            let devices =
                || state.identities.values().filter(|stored| stored.identity.id.module_str().is_none());
            let disabled = devices().filter(|stored| stored.identity.status == Status::Disabled);
            DeviceCounts { total: devices().count() as u64, disabled: disabled.count() as u64 }
        })
        .await
    }

    async fn identity(&self, id: &IdentityId) -> Result<Option<Identity>, StoreError> {
        self.read(|state| state.identity(id)).await
    }

    async fn devices(
        &self,
        filter: &DeviceFilter,
        after: Option<&DeviceId>,
        top: usize,
    ) -> Result<Vec<Identity>, StoreError> {
        let DeviceFilter { prefix, connected } = filter;
        self.read(|state| {
            let found = state.identities.values().filter(|stored| {
                let id = &stored.identity.id;
                id.module_str().is_none()
                    && after.is_none_or(|after| id.device_str() > after.as_str())
                    && prefix.as_ref().is_none_or(|prefix| id.device_str().starts_with(prefix))
                    && connected.is_none_or(|connected| connected == stored.connected)
            });
            found.take(top).map(|stored| state.counted(&stored.identity)).collect()
        })
        .await
    }

    async fn modules(
        &self,
        device: &DeviceId,
        after: Option<&ModuleId>,
        top: usize,
    ) -> Result<Vec<Identity>, StoreError> {
        self.read(|state| {
            let found = state.identities.values().filter(|stored| {
                let id = &stored.identity.id;
                id.device_str() == device.as_str()
                    && id.module_str().is_some_and(|name| after.is_none_or(|after| name > after.as_str()))
            });
            found.take(top).map(|stored| state.counted(&stored.identity)).collect()
        })
        .await
    }
}

#[async_trait]
impl TwinStore for MemoryStore {
    async fn twin(&self, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError> {
        self.read(|state| {
            let stored = state.identities.get(id)?;
            Some((state.counted(&stored.identity), stored.twin.clone()))
        })
        .await
    }
}
