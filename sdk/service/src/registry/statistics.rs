//! Counts of registered and connected devices.

use http::Method;

use crate::{Error, RegistryStatistics, ServiceClient, ServiceStatistics};

impl ServiceClient {
    /// Returns how many devices are registered, enabled and disabled.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn get_registry_statistics(&self) -> Result<RegistryStatistics, Error> {
        self.request(Method::GET, "/statistics/devices", "").send_json().await
    }

    /// Returns how many devices are connected.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn get_service_statistics(&self) -> Result<ServiceStatistics, Error> {
        self.request(Method::GET, "/statistics/service", "").send_json().await
    }
}
