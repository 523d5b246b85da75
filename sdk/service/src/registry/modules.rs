//! Modules: create, get, list, update, delete.

use ferrohub_model::percent;
use http::Method;

use crate::{Error, KeyChange, Module, ServiceClient};

fn path(device_id: &str, module_id: &str) -> Result<String, Error> {
    if device_id.is_empty() || module_id.is_empty() {
        return Err(Error::invalid_input("the device id or the module id is empty"));
    }
    Ok(format!("/devices/{}/modules/{}", percent::encode(device_id), percent::encode(module_id)))
}

impl ServiceClient {
    /// Creates a module on a device, see [`Module::new`]. The hub generates missing keys. Returns the module with its
    /// keys.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it exists,
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if its device does not,
    /// [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded) if the device has too many modules, and those of
    /// any request.
    pub async fn create_module(&self, module: &Module) -> Result<Module, Error> {
        let path = path(&module.device_id, &module.module_id)?;
        self.request(Method::PUT, &path, "").json(module)?.send_json().await
    }

    /// Replaces the settings of a module, if its etag is still the one in `module`. Without an etag, replaces them
    /// unconditionally.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed), and those of any request.
    pub async fn update_module(&self, module: &Module) -> Result<Module, Error> {
        let path = path(&module.device_id, &module.module_id)?;
        let etag = module.etag.as_deref().unwrap_or("*");
        self.request(Method::PUT, &path, "").if_match(Some(etag)).json(module)?.send_json().await
    }

    /// Generates a new key for a module, or swaps its two keys, as
    /// [`regenerate_device_key`](Self::regenerate_device_key) does for a device.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed),
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the module does not authenticate with keys, and
    /// those of any request.
    pub async fn regenerate_module_key(
        &self,
        device_id: &str,
        module_id: &str,
        key: KeyChange,
        etag: Option<&str>,
    ) -> Result<Module, Error> {
        let path = format!("/ferrohub{}/regenerate-key", path(device_id, module_id)?);
        let call = self.request(Method::POST, &path, "").if_match(Some(etag.unwrap_or("*")));
        call.json(&serde_json::json!({ "key": key }))?.send_json().await
    }

    /// Returns a module, with its keys.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_module(&self, device_id: &str, module_id: &str) -> Result<Module, Error> {
        self.request(Method::GET, &path(device_id, module_id)?, "").send_json().await
    }

    /// Lists the modules of a device, sorted by id.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the device does not exist, and those of any request.
    pub async fn list_modules(&self, device_id: &str) -> Result<Vec<Module>, Error> {
        if device_id.is_empty() {
            return Err(Error::invalid_input("the device id is empty"));
        }
        self.request(Method::GET, &format!("/devices/{}/modules", percent::encode(device_id)), "")
            .send_json()
            .await
    }

    /// Deletes a module with its twin and messages; with an etag, only if it is still the current one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed), and those of any request.
    pub async fn delete_module(
        &self,
        device_id: &str,
        module_id: &str,
        etag: Option<&str>,
    ) -> Result<(), Error> {
        let etag = etag.unwrap_or("*");
        let path = path(device_id, module_id)?;
        self.request(Method::DELETE, &path, "").if_match(Some(etag)).send().await.map(drop)
    }
}
