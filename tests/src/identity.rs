//! What a test knows of a device it has registered.

use serde_json::Value;

/// A device or module of the registry, with its keys.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The hub's name, as it stands in connection strings and tokens.
    pub hub: String,
    /// The device's id.
    pub device_id: String,
    /// The module's id, if it is a module.
    pub module_id: Option<String>,
    /// Base64; empty when the device has none.
    pub primary_key: String,
    /// Base64; empty when the device has none.
    pub secondary_key: String,
    /// The registry's answer, whole.
    pub document: Value,
}

impl Identity {
    /// From the registry's answer.
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

    /// The connection string with the primary key.
    #[must_use]
    pub fn connection_string(&self) -> String {
        self.connection_string_with(&self.primary_key)
    }

    /// The connection string with a key of choice.
    #[must_use]
    pub fn connection_string_with(&self, key: &str) -> String {
        let module = self.module_id.as_ref().map(|module| format!("ModuleId={module};")).unwrap_or_default();
        format!("HostName={};DeviceId={};{module}SharedAccessKey={key}", self.hub, self.device_id)
    }

    /// A token of the primary key, good for an hour.
    #[must_use]
    pub fn token(&self) -> String {
        let resource = self.resource();
        let expiry = crate::sas::now() + 3600;
        crate::sas::Token { resource: &resource, key: &self.primary_key, expiry, policy: None }.sign()
    }

    /// The resource a token of this device or module is for.
    #[must_use]
    pub fn resource(&self) -> String {
        let module = self.module_id.as_ref().map(|module| format!("/modules/{module}")).unwrap_or_default();
        format!("{}/devices/{}{module}", self.hub, self.device_id)
    }
}
