//! Statistics: the numbers of registered and connected devices.

use ferrohub_model::HubError;
use ferrohub_model::statistics::{RegistryStatistics, ServiceStatistics};

use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::operations::Operation;
use crate::store::store_failed;

impl ServiceCaller {
    /// Returns the numbers of registered, enabled and disabled devices.
    pub async fn get_registry_statistics(&self) -> Result<RegistryStatistics, HubError> {
        let hub = self.permit(Operation::GetRegistryStatistics)?;
        let counts = hub.store.device_counts().await.map_err(store_failed)?;
        Ok(RegistryStatistics {
            total_device_count: counts.total,
            enabled_device_count: counts.total.saturating_sub(counts.disabled),
            disabled_device_count: counts.disabled,
        })
    }

    /// Returns the number of connected devices.
    pub async fn get_service_statistics(&self) -> Result<ServiceStatistics, HubError> {
        let hub = self.permit(Operation::GetServiceStatistics)?;
        Ok(ServiceStatistics { connected_device_count: hub.bus.connected_devices().await })
    }
}

impl Hub {
    /// Returns the number of registered devices, for the hub's own metrics.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn count_devices(&self) -> Result<u64, HubError> {
        Ok(self.store.device_counts().await.map_err(store_failed)?.total)
    }
}
