//! What a test knows of a device it has registered.

use serde_json::Value;

/// A device of the registry, with its keys.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The hub's name, as it stands in connection strings and tokens.
    pub hub: String,
    /// The device's id.
    pub device_id: String,
    /// Base64; empty when the device has none.
    pub primary_key: String,
    /// Base64; empty when the device has none.
    pub secondary_key: String,
    /// The registry's answer, whole.
    pub document: Value,
}

impl Identity {
    pub(crate) fn from_document(hub: &str, document: Value) -> Self {
        let key = |name: &str| {
            let key = &document["authentication"]["symmetricKey"][name];
            key.as_str().unwrap_or_default().to_owned()
        };
        Self {
            hub: hub.to_owned(),
            device_id: document["deviceId"].as_str().unwrap_or_default().to_owned(),
            primary_key: key("primaryKey"),
            secondary_key: key("secondaryKey"),
            document,
        }
    }

    /// The connection string with the primary key.
    #[must_use]
    pub fn connection_string(&self) -> String {
        self.connection_string_with(&self.primary_key)
    }

    /// The connection string with a key of choice.
    #[must_use]
    pub fn connection_string_with(&self, key: &str) -> String {
        format!("HostName={};DeviceId={};SharedAccessKey={key}", self.hub, self.device_id)
    }

    /// The resource a token of this device is for.
    #[must_use]
    pub fn resource(&self) -> String {
        format!("{}/devices/{}", self.hub, self.device_id)
    }
}
