//! The JSON of twins: the properties that services desire and those that the device reports.

mod properties;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::properties::{SectionChange, parse_properties, parse_value};

use crate::configuration::TwinConfiguration;
use crate::device::{AuthenticationType, Capabilities, ConnectionState, Status, X509Thumbprints};
use crate::timestamp::Timestamp;

/// Member of a section: when each of its values last changed. Only in responses to services.
pub const METADATA: &str = "$metadata";
/// Member of a section: its version, starting at 1 and increased by every change.
pub const VERSION: &str = "$version";

/// A JSON object: a section of a twin, or a change of one.
pub type Properties = Map<String, Value>;

/// The two sections of properties.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinProperties {
    /// The desired properties. In responses with `$metadata` and `$version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Properties>,
    /// The reported properties. In responses with `$metadata` and `$version`. Services cannot write them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Properties>,
}

/// A twin as a service reads it. If a service sends a twin, the hub uses only its tags and desired properties.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Twin {
    /// The device.
    pub device_id: String,
    /// The module, if it is a module's twin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The etag of tags and desired properties, without quotes.
    pub etag: Option<String>,
    /// The etag of the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<String>,
    /// Whether the identity may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The reason of the status, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When `status` last changed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "Timestamp::serialize_fixed_width")]
    pub status_update_time: Option<Timestamp>,
    /// Whether it is connected now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// When the hub last received a packet or request from it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "Timestamp::serialize_fixed_width")]
    pub last_activity_time: Option<Timestamp>,
    /// Number of messages in its queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<u32>,
    /// How it authenticates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<AuthenticationType>,
    /// The thumbprints, for type `selfSigned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprints>,
    /// The model id that the device sent when it connected; empty if it never sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Counts every change of the twin.
    pub version: Option<u64>,
    /// Properties that services store about the device. The device cannot read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Properties>,
    /// Desired and reported properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<TwinProperties>,
    /// The configurations whose condition the twin matches, by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub configurations: BTreeMap<String, TwinConfiguration>,
    /// The capabilities of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The scope of the edge device that it belongs to or is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of the parents of an edge device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

/// The body of `PATCH` and `PUT` on a twin. Other members are ignored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TwinChange {
    /// The change of the tags; `None` keeps them unchanged.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "properties::present")]
    pub tags: Option<SectionChange>,
    /// The change of the desired properties; `None` keeps them unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<DesiredChange>,
}

/// The `properties` of a [`TwinChange`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DesiredChange {
    /// The change of the desired properties; `None` keeps them unchanged.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "properties::present")]
    pub desired: Option<SectionChange>,
}

impl TwinChange {
    /// Returns a change of tags.
    #[must_use]
    pub fn tags(tags: impl Into<SectionChange>) -> Self {
        Self::default().and_tags(tags)
    }

    /// Returns a change of desired properties.
    #[must_use]
    pub fn desired(desired: impl Into<SectionChange>) -> Self {
        Self { tags: None, properties: Some(DesiredChange { desired: Some(desired.into()) }) }
    }

    /// Adds a change of tags.
    #[must_use]
    pub fn and_tags(mut self, tags: impl Into<SectionChange>) -> Self {
        self.tags = Some(tags.into());
        self
    }

    /// Returns the change of the desired properties, if there is one.
    #[must_use]
    pub fn desired_change(&self) -> Option<&SectionChange> {
        self.properties.as_ref()?.desired.as_ref()
    }
}

/// A twin as its device reads it: without tags and metadata, with [`VERSION`] in each section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceTwin {
    /// The desired properties.
    pub desired: Properties,
    /// The reported properties.
    pub reported: Properties,
}

/// Returns the [`VERSION`] of a section, if it has one.
#[must_use]
pub fn version(section: &Properties) -> Option<u64> {
    section.get(VERSION)?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_and_desired_properties_of_a_sent_twin_are_used() {
        let text = r#"{"deviceId":"d","etag":"x","tags":{"a":null},"properties":
            {"desired":{"b":1,"$version":3},"reported":{"c":2}},"connectionState":"odd"}"#;
        let change: TwinChange = serde_json::from_str(text).unwrap();
        assert_eq!(change.tags.as_ref().unwrap().properties().unwrap().get("a"), Some(&Value::Null));
        let desired = change.desired_change().unwrap().properties().unwrap();
        assert_eq!((desired.get("b"), version(desired)), (Some(&Value::from(1)), Some(3)));
        for nothing in ["{}", r#"{"properties":null}"#] {
            assert_eq!(
                serde_json::from_str::<TwinChange>(nothing).unwrap(),
                TwinChange::default(),
                "{nothing}"
            );
        }
    }

    #[test]
    fn null_clears_a_section_and_a_missing_section_stays() {
        let text = r#"{"tags":null,"properties":{"desired":null}}"#;
        let change: TwinChange = serde_json::from_str(text).unwrap();
        assert_eq!(change.tags, Some(SectionChange::Clear));
        assert_eq!(change.desired_change(), Some(&SectionChange::Clear));
        assert_eq!(serde_json::to_string(&change).unwrap(), text);
        let empty: TwinChange = serde_json::from_str(r#"{"properties":{}}"#).unwrap();
        assert_eq!((empty.tags.as_ref(), empty.desired_change()), (None, None));
        for invalid in [r#"{"tags":1}"#, r#"{"properties":{"desired":[]}}"#, r#"{"tags":{"a":"\ud800"}}"#] {
            assert!(serde_json::from_str::<TwinChange>(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_new_twin_has_the_json_that_clients_expect() {
        let twin = Twin { device_id: "d".to_owned(), version: Some(2), ..Twin::default() };
        let json = serde_json::to_value(&twin).unwrap();
        assert_eq!(json, serde_json::json!({ "deviceId": "d", "etag": null, "version": 2 }));
    }
}
