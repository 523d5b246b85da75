//! Devices: create, get, list, update, delete.

use ferrohub_model::percent;
use http::Method;

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
        return Err(Error::invalid_input("the device id is empty"));
    }
    Ok(format!("/devices/{}", percent::encode(device_id)))
}

impl ServiceClient {
    /// Creates a device, see [`Device::new`]. The hub generates missing keys. Returns the device with its keys.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it exists,
    /// [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded) if the hub has too many devices, and those of any
    /// request.
    pub async fn create_device(&self, device: &Device) -> Result<Device, Error> {
        self.request(Method::PUT, &path(&device.device_id)?, "").json(device)?.send_json().await
    }

    /// Replaces the settings of a device, if its etag is still the one in `device`. Without an etag, replaces them
    /// unconditionally.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed), and those of any request.
    pub async fn update_device(&self, device: &Device) -> Result<Device, Error> {
        let etag = device.etag.as_deref().unwrap_or("*");
        self.request(Method::PUT, &path(&device.device_id)?, "")
            .if_match(Some(etag))
            .json(device)?
            .send_json()
            .await
    }

    /// Generates a new key for a device, or swaps its two keys; with an etag, only if it is still the current one.
    /// Connections that used a removed key are closed. Only a Ferrohub supports this; for Azure use
    /// [`update_device`](Self::update_device).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed),
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the device does not authenticate with keys, and
    /// those of any request.
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

    /// Returns a device, with its keys.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_device(&self, device_id: &str) -> Result<Device, Error> {
        self.request(Method::GET, &path(device_id)?, "").send_json().await
    }

    /// Lists the first devices, sorted by id: at most `top`, from 1 to 1,000; another value means 1,000. See
    /// [`list_devices_with_total`](Self::list_devices_with_total) for whether there are more.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_devices(&self, top: u32) -> Result<Vec<Device>, Error> {
        self.request(Method::GET, "/devices", &format!("top={top}&")).send_json().await
    }

    /// Lists the first devices as [`list_devices`](Self::list_devices) does, with the number of all devices of the hub.
    /// The list is incomplete if the total is larger.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_devices_with_total(&self, top: u32) -> Result<DeviceList, Error> {
        let response = self.request(Method::GET, "/devices", &format!("top={top}&")).send().await?;
        let devices = serde_json::from_slice(&response.body).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the response of the hub cannot be read").with_source(error)
        })?;
        let total = response.headers.get("ferrohub-total-count");
        let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
        Ok(DeviceList { devices, total })
    }

    /// Deletes a device with its modules, twins and messages; with an etag, only if it is still the current one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed), and those of any request.
    pub async fn delete_device(&self, device_id: &str, etag: Option<&str>) -> Result<(), Error> {
        let etag = etag.unwrap_or("*");
        self.request(Method::DELETE, &path(device_id)?, "").if_match(Some(etag)).send().await.map(drop)
    }
}
