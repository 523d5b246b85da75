//! The JSON of a module in the registry: a part of a device with its own identity and twin.

use serde::{Deserialize, Serialize};

use crate::device::{Authentication, ConnectionState};
use crate::names;
use crate::timestamp::Timestamp;

/// A module identity. Requests set only some fields, of which the hub uses only some. Responses of the hub set all
/// fields.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Module {
    /// The module's name, unique on its device.
    pub module_id: String,
    /// Who manages it, such as `IotEdge`; at most 128 characters.
    pub managed_by: Option<String>,
    /// The device it is on.
    pub device_id: String,
    /// New each time the module is created, which distinguishes a re-created module from the old one.
    #[serde(deserialize_with = "names::read_only")]
    pub generation_id: Option<String>,
    /// The etag of the identity, without quotes.
    #[serde(deserialize_with = "names::read_only")]
    pub etag: Option<String>,
    /// Whether it is connected now.
    #[serde(deserialize_with = "names::read_only")]
    pub connection_state: Option<ConnectionState>,
    /// When `connection_state` last changed.
    #[serde(deserialize_with = "names::read_only")]
    pub connection_state_updated_time: Option<Timestamp>,
    /// When the hub last received a packet or request from it.
    #[serde(deserialize_with = "names::read_only")]
    pub last_activity_time: Option<Timestamp>,
    /// Number of messages in its queue.
    #[serde(deserialize_with = "names::read_only")]
    pub cloud_to_device_message_count: Option<u32>,
    /// How it authenticates.
    pub authentication: Option<Authentication>,
}

impl Module {
    /// Returns a module to create; the hub generates its keys.
    pub fn new(device_id: impl Into<String>, module_id: impl Into<String>) -> Self {
        Self { device_id: device_id.into(), module_id: module_id.into(), ..Self::default() }
    }

    /// Sets who manages the module.
    #[must_use]
    pub fn with_managed_by(mut self, managed_by: impl Into<String>) -> Self {
        self.managed_by = Some(managed_by.into());
        self
    }

    /// Sets how the module authenticates.
    #[must_use]
    pub fn with_authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// Returns the primary key, if the module has one and the response contains it.
    #[must_use]
    pub fn primary_key(&self) -> Option<&str> {
        self.authentication.as_ref()?.primary_key()
    }
}
