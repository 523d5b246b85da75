//! Devices: create, read, change, delete.

use http::Method;

use crate::uri::segment;
use crate::{Device, Error, ErrorKind, KeyChange, ServiceClient};

/// A list of devices, and how many there are.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceList {
    /// The first devices in the order of their ids.
    pub devices: Vec<Device>,
    /// The number of registered devices; `None` from Azure, which does not report it.
    pub total: Option<u64>,
}

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
        self.call(Method::PUT, &path(&device.device_id)?, "").json(device)?.send_for().await
    }

    /// Replaces a device's settings, if it has not changed since they were read: the device's etag must be the hub's.
    /// Without an etag, whatever changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`]
    pub async fn update_device(&self, device: &Device) -> Result<Device, Error> {
        let etag = device.etag.as_deref().unwrap_or("*");
        self.call(Method::PUT, &path(&device.device_id)?, "")
            .if_match(Some(etag))
            .json(device)?
            .send_for()
            .await
    }

    /// Gives a device a new key, or exchanges its two, in one step; with an etag only if it is still the hub's. What is
    /// connected with a key that is gone is disconnected. Only a Ferrohub has this; see
    /// [`update_device`](Self::update_device) for the others.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`], [`ErrorKind::InvalidArgument`] if the device does not
    /// authenticate with keys.
    pub async fn regenerate_device_key(
        &self,
        device_id: &str,
        key: KeyChange,
        etag: Option<&str>,
    ) -> Result<Device, Error> {
        let path = format!("/ferrohub{}/regenerate-key", path(device_id)?);
        let call = self.call(Method::POST, &path, "").if_match(Some(etag.unwrap_or("*")));
        call.json(&serde_json::json!({ "key": key }))?.send_for().await
    }

    /// A device, keys included.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]
    pub async fn get_device(&self, device_id: &str) -> Result<Device, Error> {
        self.call(Method::GET, &path(device_id)?, "").send_for().await
    }

    /// The first devices in the order of their ids: at most `top`, and at most 1,000. See
    /// [`list_devices_with_total`](Self::list_devices_with_total) for whether there are more.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn list_devices(&self, top: u32) -> Result<Vec<Device>, Error> {
        self.call(Method::GET, "/devices", &format!("top={top}&")).send_for().await
    }

    /// Returns the first devices in the order of their ids, and how many devices the hub has. A hub lists 1,000 devices at
    /// most, so the list is cut off if the total is larger.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn list_devices_with_total(&self, top: u32) -> Result<DeviceList, Error> {
        let answer = self.call(Method::GET, "/devices", &format!("top={top}&")).send().await?;
        let devices = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::new(ErrorKind::InvalidResponse, "the hub's answer cannot be read").with_source(error)
        })?;
        let total = answer.headers.get("ferrohub-total-count");
        let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
        Ok(DeviceList { devices, total })
    }

    /// Deletes a device and everything of it; with an etag only if it is still the hub's.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`]
    pub async fn delete_device(&self, device_id: &str, etag: Option<&str>) -> Result<(), Error> {
        let etag = etag.unwrap_or("*");
        self.call(Method::DELETE, &path(device_id)?, "").if_match(Some(etag)).send().await.map(drop)
    }
}
