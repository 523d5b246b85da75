//! A registered device or module and its keys.

use serde_json::Value;

/// A registered device or module, with its keys.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The hub's host name, as in connection strings and tokens.
    pub hub: String,
    /// The device id.
    pub device_id: String,
    /// The module id; none for a device.
    pub module_id: Option<String>,
    /// Base64; empty if the identity has no keys.
    pub primary_key: String,
    /// Base64; empty if the identity has no keys.
    pub secondary_key: String,
    /// The complete response of the registry.
    pub document: Value,
}

impl Identity {
    /// Creates an identity from the registry's response.
    #[must_use]
    pub fn from_document(hub: &str, document: Value) -> Self {
        let key = |name: &str| {
            let key = &document["authentication"]["symmetricKey"][name];
            key.as_str().unwrap_or_default().to_owned()
        };
        Self {
            hub: hub.to_owned(),
            device_id: document["deviceId"].as_str().unwrap_or_default().to_owned(),
            module_id: document["moduleId"].as_str().map(str::to_owned),
            primary_key: key("primaryKey"),
            secondary_key: key("secondaryKey"),
            document,
        }
    }

    /// Returns the connection string with the primary key.
    #[must_use]
    pub fn connection_string(&self) -> String {
        self.connection_string_with(&self.primary_key)
    }

    /// Returns the connection string with the given key.
    #[must_use]
    pub fn connection_string_with(&self, key: &str) -> String {
        let module = self.module_id.as_ref().map(|module| format!("ModuleId={module};")).unwrap_or_default();
        format!("HostName={};DeviceId={};{module}SharedAccessKey={key}", self.hub, self.device_id)
    }

    /// Creates a token with the primary key, valid for an hour.
    #[must_use]
    pub fn token(&self) -> String {
        let resource = self.resource();
        let expiry = crate::sas::now() + 3600;
        crate::sas::Token { resource: &resource, key: &self.primary_key, expiry, policy: None }.sign()
    }

    /// Returns the token resource of this device or module.
    #[must_use]
    pub fn resource(&self) -> String {
        let module = self.module_id.as_ref().map(|module| format!("/modules/{module}")).unwrap_or_default();
        format!("{}/devices/{}{module}", self.hub, self.device_id)
    }
}
