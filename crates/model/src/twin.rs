//! A twin, as its JSON crosses the wire: what a back end wants of a device and what the device reports.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::device::{AuthenticationType, Capabilities, ConnectionState, Status, X509Thumbprints};
use crate::timestamp::Timestamp;

/// In a section: when each of its values was last changed. In a service's answers only.
pub const METADATA: &str = "$metadata";
/// In a section: how often it was changed, from 1.
pub const VERSION: &str = "$version";

/// A JSON object: a section of a twin, or a change to one.
pub type Properties = Map<String, Value>;

/// The two sections of properties.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinProperties {
    /// What the back end wants. With [`METADATA`] and [`VERSION`] in an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Properties>,
    /// What the device reports. With [`METADATA`] and [`VERSION`] in an answer; not for services to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Properties>,
}

/// A twin as a service reads it. Of a twin that is sent back, only tags and desired properties count.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Twin {
    /// The device.
    pub device_id: String,
    /// The module, if it is a module's twin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Changes with tags and desired properties; without quotes.
    pub etag: Option<String>,
    /// The etag of the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<String>,
    /// Whether the identity may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When `status` last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_update_time: Option<Timestamp>,
    /// Whether it is connected now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// When the hub last heard from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<Timestamp>,
    /// Messages waiting for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u32>,
    /// How it proves itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<AuthenticationType>,
    /// The thumbprints, for type `selfSigned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprints>,
    /// The model the device said it follows when it connected; empty if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Counts every change of the twin.
    pub version: Option<u64>,
    /// What the back end notes about the device, which never sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Properties>,
    /// Desired and reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<TwinProperties>,
    /// What the device can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Which edge device it belongs to or is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes above an edge device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

/// The body of `PATCH` and `PUT` on a twin. Whatever else is in it is passed over.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TwinChange {
    /// The change to the tags; none leaves them alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Properties>,
    /// The change to the desired properties; none leaves them alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<DesiredChange>,
}

/// The `properties` of a [`TwinChange`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DesiredChange {
    /// The change to the desired properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Properties>,
}

impl TwinChange {
    /// A change of these tags.
    #[must_use]
    pub fn tags(tags: Properties) -> Self {
        Self::default().and_tags(tags)
    }

    /// A change of these desired properties.
    #[must_use]
    pub fn desired(desired: Properties) -> Self {
        Self { tags: None, properties: Some(DesiredChange { desired: Some(desired) }) }
    }

    /// The same, with a change of these tags.
    #[must_use]
    pub fn and_tags(mut self, tags: Properties) -> Self {
        self.tags = Some(tags);
        self
    }
}

/// A twin as its device reads it: no tags, no metadata, but [`VERSION`] in each section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceTwin {
    /// What the back end wants.
    pub desired: Properties,
    /// What the device reported.
    pub reported: Properties,
}

/// The [`VERSION`] in a section, if it has one.
#[must_use]
pub fn version(section: &Properties) -> Option<u64> {
    section.get(VERSION)?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_twin_that_is_sent_back_only_tags_and_desired_count() {
        let text = r#"{"deviceId":"d","etag":"x","tags":{"a":null},"properties":
            {"desired":{"b":1,"$version":3},"reported":{"c":2}},"connectionState":"odd"}"#;
        let change: TwinChange = serde_json::from_str(text).unwrap();
        assert_eq!(change.tags.as_ref().unwrap().get("a"), Some(&Value::Null));
        let desired = change.properties.unwrap().desired.unwrap();
        assert_eq!((desired.get("b"), version(&desired)), (Some(&Value::from(1)), Some(3)));
        let nothing: TwinChange = serde_json::from_str(r#"{"tags":null,"properties":null}"#).unwrap();
        assert_eq!(nothing, TwinChange::default());
    }

    #[test]
    fn a_fresh_twin_reads_as_the_clients_expect() {
        let twin = Twin { device_id: "d".to_owned(), version: Some(2), ..Twin::default() };
        let json = serde_json::to_value(&twin).unwrap();
        assert_eq!(json, serde_json::json!({ "deviceId": "d", "etag": null, "version": 2 }));
    }
}
