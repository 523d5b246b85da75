//! How many devices there are, and how many are connected.

use http::Method;

use crate::{Error, RegistryStatistics, ServiceClient, ServiceStatistics};

impl ServiceClient {
    /// How many devices are registered, and how many of them may connect.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn registry_statistics(&self) -> Result<RegistryStatistics, Error> {
        self.request(Method::GET, "/statistics/devices", "").send_json().await
    }

    /// How many devices are connected.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn service_statistics(&self) -> Result<ServiceStatistics, Error> {
        self.request(Method::GET, "/statistics/service", "").send_json().await
    }
}
