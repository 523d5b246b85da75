//! Modules: create, read, change, delete.

use http::Method;

use crate::uri::segment;
use crate::{Error, ErrorKind, KeyChange, Module, ServiceClient};

fn path(device_id: &str, module_id: &str) -> Result<String, Error> {
    if device_id.is_empty() || module_id.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "the device id or the module id is empty"));
    }
    Ok(format!("/devices/{}/modules/{}", segment(device_id), segment(module_id)))
}

impl ServiceClient {
    /// Creates a module on a device, see [`Module::new`]. The hub makes keys where none are given, and answers with all.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it exists, [`ErrorKind::NotFound`] if its device does not,
    /// [`ErrorKind::QuotaExceeded`] if the device has as many modules as it may.
    pub async fn create_module(&self, module: &Module) -> Result<Module, Error> {
        let path = path(&module.device_id, &module.module_id)?;
        self.request(Method::PUT, &path, "").json(module)?.send_json().await
    }

    /// Replaces a module's settings, if it has not changed since they were read: the module's etag must be the hub's.
    /// Without an etag, whatever changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`]
    pub async fn update_module(&self, module: &Module) -> Result<Module, Error> {
        let path = path(&module.device_id, &module.module_id)?;
        let etag = module.etag.as_deref().unwrap_or("*");
        self.request(Method::PUT, &path, "").if_match(Some(etag)).json(module)?.send_json().await
    }

    /// Gives a module a new key, or exchanges its two, as
    /// [`regenerate_device_key`](Self::regenerate_device_key) does for a device.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`], [`ErrorKind::BadRequest`] if the module does not
    /// authenticate with keys.
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

    /// A module, keys included.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]
    pub async fn get_module(&self, device_id: &str, module_id: &str) -> Result<Module, Error> {
        self.request(Method::GET, &path(device_id, module_id)?, "").send_json().await
    }

    /// The modules of a device in the order of their ids.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such device.
    pub async fn list_modules(&self, device_id: &str) -> Result<Vec<Module>, Error> {
        if device_id.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "the device id is empty"));
        }
        self.request(Method::GET, &format!("/devices/{}/modules", segment(device_id)), "").send_json().await
    }

    /// Deletes a module and everything of it; with an etag only if it is still the hub's.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`]
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
