//! Many devices and modules in one request.

use http::Method;
use serde::de::DeserializeOwned;

use crate::{BulkKeyRequest, BulkKeyResult, BulkResult, Error, RegistryItem, ServiceClient};

/// The largest number of items in a request.
const MAX_ITEMS: usize = 100;

impl ServiceClient {
    /// Creates, updates and deletes devices and modules with their twins, as the mode of each item says. A hub takes 100 items
    /// in a request, so longer lists are sent in several requests, one after the other.
    ///
    /// ```no_run
    /// # async fn run(client: ferrohub_service::ServiceClient) -> Result<(), ferrohub_service::Error> {
    /// use ferrohub_service::{ImportMode, RegistryItem};
    /// let new = |id: &str| RegistryItem {
    ///     id: id.to_owned(),
    ///     import_mode: Some(ImportMode::Create),
    ///     ..RegistryItem::default()
    /// };
    /// let result = client.change_identities(&[new("pump-1"), new("pump-2")]).await?;
    /// for failed in result.errors {
    ///     eprintln!("{}: {} {}", failed.device_id, failed.error_code, failed.error_status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of any request. The items of earlier requests are done then. Items that fail are no error: they are in the result.
    pub async fn change_identities(&self, items: &[RegistryItem]) -> Result<BulkResult, Error> {
        let mut all = BulkResult { is_successful: true, errors: Vec::new(), warnings: Vec::new() };
        for part in items.chunks(MAX_ITEMS) {
            let result: BulkResult = self.send_bulk("/devices", &part).await?;
            all.is_successful &= result.is_successful;
            all.errors.extend(result.errors);
            all.warnings.extend(result.warnings);
        }
        Ok(all)
    }

    /// Replaces keys of at most 100 devices and modules by new ones. Connections that used a removed key are closed.
    ///
    /// # Errors
    /// Those of any request. Identities that fail are no error: they are in the result.
    pub async fn regenerate_keys(&self, request: &BulkKeyRequest) -> Result<BulkKeyResult, Error> {
        self.send_bulk("/devices/keys/regenerate", request).await
    }

    /// Sends a request whose result has the status of an error if something failed.
    async fn send_bulk<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, Error> {
        let response = self.request(Method::POST, path, "").json(body)?.send_any_status().await?;
        serde_json::from_slice(&response.body).map_err(|error| response.into_error(error))
    }
}
