//! Devices and modules.

use async_trait::async_trait;
use ferrohub_core::connections::ConnectionStore as _;
use ferrohub_core::registry::{DeviceCounts, DeviceFilter, Identity, RegistryStore};
use ferrohub_core::store::StoreError;
use ferrohub_model::{DeviceId, IdentityId, ModuleId};

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl RegistryStore for SqliteStore {
    async fn device_counts(&self) -> Result<DeviceCounts, StoreError> {
        self.readers.read_inline(statements::device_counts).await
    }

    async fn identity(&self, id: &IdentityId) -> Result<Option<Identity>, StoreError> {
        Ok(self.identity_and_session(id).await?.map(|(identity, _)| identity))
    }

    async fn devices(
        &self,
        filter: &DeviceFilter,
        after: Option<&DeviceId>,
        top: usize,
    ) -> Result<Vec<Identity>, StoreError> {
        let (filter, after) = (filter.clone(), after.cloned());
        self.readers.read(move |db| statements::devices(db, &filter, after.as_ref(), top)).await
    }

    async fn modules(
        &self,
        device: &DeviceId,
        after: Option<&ModuleId>,
        top: usize,
    ) -> Result<Vec<Identity>, StoreError> {
        let (device, after) = (device.clone(), after.cloned());
        self.readers.read(move |db| statements::modules(db, &device, after.as_ref(), top)).await
    }
}
