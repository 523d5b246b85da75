//! Configurations (automatic device management): create, get, list, update, delete, test, apply to one device.

use ferrohub_model::percent;
use http::Method;

use crate::{
    Configuration, ConfigurationContent, ConfigurationQueries, ConfigurationQueryErrors, Error, ServiceClient,
};

fn path(id: &str) -> Result<String, Error> {
    if id.is_empty() {
        return Err(Error::invalid_input("the id of the configuration is empty"));
    }
    Ok(format!("/configurations/{}", percent::encode(id)))
}

impl ServiceClient {
    /// Creates a configuration, see [`Configuration::new`].
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it exists,
    /// [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded) if the hub has too many,
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) for invalid content or an invalid condition, and those of any
    /// request.
    pub async fn create_configuration(&self, configuration: &Configuration) -> Result<Configuration, Error> {
        self.request(Method::PUT, &path(&configuration.id)?, "").json(configuration)?.send_json().await
    }

    /// Replaces the target condition, priority, labels and metrics of a configuration, if its etag is still the one in
    /// `configuration`. Without an etag, replaces them unconditionally. The content cannot be changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed),
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) for other content or an invalid condition, and those of any
    /// request.
    pub async fn update_configuration(&self, configuration: &Configuration) -> Result<Configuration, Error> {
        let etag = configuration.etag.as_deref().unwrap_or("*");
        self.request(Method::PUT, &path(&configuration.id)?, "")
            .if_match(Some(etag))
            .json(configuration)?
            .send_json()
            .await
    }

    /// Returns a configuration with the results of its metrics.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_configuration(&self, id: &str) -> Result<Configuration, Error> {
        self.request(Method::GET, &path(id)?, "").send_json().await
    }

    /// Lists the first configurations, sorted by id: at most `top`, from 1 to 100; another value means 100.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_configurations(&self, top: u32) -> Result<Vec<Configuration>, Error> {
        self.request(Method::GET, "/configurations", &format!("top={top}&")).send_json().await
    }

    /// Deletes a configuration; with an etag, only if it is still the current one. The hub removes its settings from the
    /// twins.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed), and those of any request.
    pub async fn delete_configuration(&self, id: &str, etag: Option<&str>) -> Result<(), Error> {
        let etag = etag.unwrap_or("*");
        self.request(Method::DELETE, &path(id)?, "").if_match(Some(etag)).send().await.map(drop)
    }

    /// Tests a target condition and queries of metrics. Returns what is wrong with them.
    ///
    /// # Errors
    /// Those of any request. An invalid condition or query is no error of the request.
    pub async fn test_configuration_queries(
        &self,
        queries: &ConfigurationQueries,
    ) -> Result<ConfigurationQueryErrors, Error> {
        self.request(Method::POST, "/configurations/testQueries", "").json(queries)?.send_json().await
    }

    /// Sets desired properties of the modules of an edge device, once. Modules that do not exist are created.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if another request does the same now,
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) for a device that is not an edge device or content that is not
    /// for modules of one, and those of any request.
    pub async fn apply_configuration_content(
        &self,
        device_id: &str,
        content: &ConfigurationContent,
    ) -> Result<(), Error> {
        if device_id.is_empty() {
            return Err(Error::invalid_input("the device id is empty"));
        }
        let path = format!("/devices/{}/applyConfigurationContent", percent::encode(device_id));
        self.request(Method::POST, &path, "").json(content)?.send().await.map(drop)
    }
}
