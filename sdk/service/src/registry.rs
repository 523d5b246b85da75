//! Devices: create, read, change, delete.

use http::Method;

use crate::uri::segment;
use crate::{Device, Error, ErrorKind, KeyChange, ServiceClient};

fn path(device_id: &str) -> Result<String, Error> {
    if device_id.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "the device id is empty"));
    }
    Ok(format!("/devices/{}", segment(device_id)))
}

impl ServiceClient {
    /// Creates a device, see [`Device::new`]. The hub makes keys where none are given, and answers with all.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it exists, [`ErrorKind::QuotaExceeded`] if the hub is full.
    pub async fn create_device(&self, device: &Device) -> Result<Device, Error> {
        self.request(Method::PUT, &path(&device.device_id)?, "").json(device)?.send_json().await
    }

    /// Replaces a device's settings, if it has not changed since they were read: the device's etag must be the hub's.
    /// Without an etag, whatever changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`]
    pub async fn update_device(&self, device: &Device) -> Result<Device, Error> {
        let etag = device.etag.as_deref().unwrap_or("*");
        self.request(Method::PUT, &path(&device.device_id)?, "")
            .if_match(Some(etag))
            .json(device)?
            .send_json()
            .await
    }

    /// Gives a device a new key, or exchanges its two, in one step; with an etag only if it is still the hub's. What is
    /// connected with a key that is gone is disconnected. Only a Ferrohub has this; see
    /// [`update_device`](Self::update_device) for the others.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`], [`ErrorKind::BadRequest`] if the device does not
    /// authenticate with keys.
    pub async fn regenerate_device_key(
        &self,
        device_id: &str,
        key: KeyChange,
        etag: Option<&str>,
    ) -> Result<Device, Error> {
        let path = format!("/ferrohub{}/regenerate-key", path(device_id)?);
        let call = self.request(Method::POST, &path, "").if_match(Some(etag.unwrap_or("*")));
        call.json(&serde_json::json!({ "key": key }))?.send_json().await
    }

    /// A device, keys included.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]
    pub async fn get_device(&self, device_id: &str) -> Result<Device, Error> {
        self.request(Method::GET, &path(device_id)?, "").send_json().await
    }

    /// The first devices in the order of their ids: at most `top`, and at most 1,000.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn list_devices(&self, top: u32) -> Result<Vec<Device>, Error> {
        self.request(Method::GET, "/devices", &format!("top={top}&")).send_json().await
    }

    /// Deletes a device and everything of it; with an etag only if it is still the hub's.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`]
    pub async fn delete_device(&self, device_id: &str, etag: Option<&str>) -> Result<(), Error> {
        let etag = etag.unwrap_or("*");
        self.request(Method::DELETE, &path(device_id)?, "").if_match(Some(etag)).send().await.map(drop)
    }
}
