//! A module in the registry, as its JSON crosses the wire: a part of a device with an identity and a twin of its own.

use serde::{Deserialize, Serialize};

use crate::device::{Authentication, ConnectionState};
use crate::timestamp::Timestamp;

/// A module identity. In a request only some fields are set and only some of those count;
/// in an answer of the hub all are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Module {
    /// The module's name, unique on its device.
    pub module_id: String,
    /// Who manages it, such as `IotEdge`; at most 128 characters.
    pub managed_by: Option<String>,
    /// The device it is on.
    pub device_id: String,
    /// New each time the module is created; tells a re-created one from the old.
    pub generation_id: Option<String>,
    /// Changes with each change of the identity; without quotes.
    pub etag: Option<String>,
    /// Whether it is connected now.
    pub connection_state: Option<ConnectionState>,
    /// When `connection_state` last changed.
    pub connection_state_updated_time: Option<Timestamp>,
    /// When the hub last heard from it.
    pub last_activity_time: Option<Timestamp>,
    /// Messages waiting for it.
    pub cloud_to_device_message_count: Option<u32>,
    /// How it proves itself.
    pub authentication: Option<Authentication>,
}

impl Module {
    /// A module to be created, with keys that the hub makes.
    pub fn new(device_id: impl Into<String>, module_id: impl Into<String>) -> Self {
        Self { device_id: device_id.into(), module_id: module_id.into(), ..Self::default() }
    }

    /// The same, managed by somebody.
    #[must_use]
    pub fn with_managed_by(mut self, managed_by: impl Into<String>) -> Self {
        self.managed_by = Some(managed_by.into());
        self
    }

    /// The same, proving itself in this way.
    #[must_use]
    pub fn with_authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// The primary key, where the module has one and the answer showed it.
    #[must_use]
    pub fn primary_key(&self) -> Option<&str> {
        self.authentication.as_ref()?.primary_key()
    }
}
