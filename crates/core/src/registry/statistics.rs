//! Statistics: the numbers of registered and connected devices.

use ferrohub_model::HubError;
use ferrohub_model::statistics::{RegistryStatistics, ServiceStatistics};

use crate::hub::Hub;
use crate::store::store_failed;

impl Hub {
    /// Returns the numbers of registered, enabled and disabled devices.
    pub async fn registry_statistics(&self) -> Result<RegistryStatistics, HubError> {
        let counts = self.store.device_counts().await.map_err(store_failed)?;
        Ok(RegistryStatistics {
            total_device_count: counts.total,
            enabled_device_count: counts.total.saturating_sub(counts.disabled),
            disabled_device_count: counts.disabled,
        })
    }

    /// Returns the number of connected devices.
    pub async fn service_statistics(&self) -> ServiceStatistics {
        ServiceStatistics { connected_device_count: self.bus.connected_devices().await }
    }
}
