//! Devices: create, get, list, update, delete.

use ferrohub_model::percent;
use http::{HeaderValue, Method};

use crate::paging::{CONTINUATION, MAX_ITEM_COUNT, PageStream};
use crate::{Device, Error, KeyChange, ServiceClient};

const MAX_PAGE_SIZE: u32 = 1000;

/// Selects devices of a list; for [`ServiceClient::devices`].
///
/// ```
/// # use ferrohub_service::DeviceQuery;
/// let query = DeviceQuery::new().prefix("pump-").connected(true);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct DeviceQuery {
    prefix: Option<String>,
    connected: Option<bool>,
    page_size: Option<u32>,
}

impl DeviceQuery {
    /// All devices, sorted by id.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects the devices whose id starts with this text. Only a Ferrohub supports this; Azure returns all devices.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Selects the devices that are connected, or those that are not. Only a Ferrohub supports this; Azure returns all
    /// devices.
    pub fn connected(mut self, connected: bool) -> Self {
        self.connected = Some(connected);
        self
    }

    /// Sets the number of devices that one request returns, from 1 to 1,000, which is the default.
    pub fn page_size(mut self, devices: u32) -> Self {
        self.page_size = Some(devices);
        self
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(prefix) = &self.prefix {
            text.push_str(&format!("prefix={}&", percent::encode(prefix)));
        }
        if let Some(connected) = self.connected {
            text.push_str(&format!("connected={connected}&"));
        }
        text
    }
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

    /// Lists the first devices, sorted by id: at most `top`, from 1 to 1,000; another value means 1,000. For longer lists see
    /// [`devices`](Self::devices).
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_devices(&self, top: u32) -> Result<Vec<Device>, Error> {
        self.request(Method::GET, "/devices", &format!("top={top}&")).send_json().await
    }

    /// Returns a stream of all devices that the query selects, sorted by id. It requests a page when it needs one. A device
    /// that is created or deleted meanwhile may or may not be in the list; no other device is left out or repeated. From
    /// Azure, which has no pages of devices, the list ends after 1,000 devices.
    pub fn devices(&self, query: &DeviceQuery) -> PageStream<Device> {
        let (client, text) = (self.clone(), query.to_text());
        let size = HeaderValue::from(query.page_size.unwrap_or(MAX_PAGE_SIZE));
        PageStream::new(move |token| {
            let (client, text, size) = (client.clone(), text.clone(), size.clone());
            Box::pin(async move {
                let mut request = client.request(Method::GET, "/devices", &text).header(MAX_ITEM_COUNT, size);
                if let Some(token) = token {
                    request = request.header(CONTINUATION, token);
                }
                request.send().await
            })
        })
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
