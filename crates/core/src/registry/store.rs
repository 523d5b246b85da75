//! The part of the store port that reads identities. They change in [groups](crate::store::ChangeGroup).

use async_trait::async_trait;
use ferrohub_model::{DeviceId, IdentityId, ModuleId};

use super::Identity;
use crate::store_error::StoreError;

/// Numbers of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCounts {
    /// All devices, without modules.
    pub total: u64,
    /// The disabled devices.
    pub disabled: u64,
}

/// Which devices to list. The default is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFilter {
    /// Only devices whose id starts with this text.
    pub prefix: Option<String>,
    /// Only devices whose stored connection state is this one.
    pub connected: Option<bool>,
}

/// Devices and modules.
#[async_trait]
pub trait RegistryStore: Send + Sync + 'static {
    /// Returns the numbers of devices, in constant time.
    async fn device_counts(&self) -> Result<DeviceCounts, StoreError>;

    /// Returns an identity, or `None` if it does not exist.
    async fn identity(&self, id: &IdentityId) -> Result<Option<Identity>, StoreError>;

    /// Returns the first `top` devices in id order that match the filter, starting after the id `after`, without modules.
    async fn devices(
        &self,
        filter: &DeviceFilter,
        after: Option<&DeviceId>,
        top: usize,
    ) -> Result<Vec<Identity>, StoreError>;

    /// Returns the first `top` modules of a device in id order, starting after the id `after`.
    async fn modules(
        &self,
        device: &DeviceId,
        after: Option<&ModuleId>,
        top: usize,
    ) -> Result<Vec<Identity>, StoreError>;
}
