//! Target conditions: which devices or modules a configuration is for.

use ferrohub_model::configuration::ConfigurationContent;
use ferrohub_model::{ErrorCode, HubError};
use ferrohub_query::plan::{Collection, Member, Number, Path, Root};
use ferrohub_query::{Dialect, Filter, Item, Limits, Row};

use super::Content;
use crate::registry::Identity;
use crate::twins::TwinDocument;

/// The condition of all devices.
const ALL: &str = "*";

/// A target condition, parsed.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetCondition {
    /// It was empty: no twin matches.
    Nothing,
    /// The twins that the filter keeps.
    Filter(Filter),
}

/// What a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetKind {
    Devices,
    Modules,
    Edge,
}

impl TargetKind {
    /// Returns the kind that content which may not be valid is for.
    pub(super) fn of(content: &ConfigurationContent) -> Self {
        if !content.modules_content.is_empty() {
            Self::Edge
        } else if !content.module_content.is_empty() {
            Self::Modules
        } else {
            Self::Devices
        }
    }

    fn of_parsed(content: &Content) -> Self {
        match content {
            Content::Devices(_) => Self::Devices,
            Content::Modules(_) => Self::Modules,
            Content::Edge(_) => Self::Edge,
        }
    }
}

impl TargetCondition {
    /// Parses the target condition of a configuration with this content.
    ///
    /// # Errors
    /// `InvalidConfigurationTargetCondition`; its message names the place and the reason.
    pub fn parse(text: &str, content: &Content) -> Result<Self, HubError> {
        let condition = Self::parse_any(text)?;
        let Self::Filter(filter) = &condition else { return Ok(condition) };
        match (TargetKind::of_parsed(content), filter.collection) {
            (TargetKind::Modules, Collection::Devices) => Err(invalid(
                "The configuration is for modules, so the condition must begin with FROM devices.modules.",
            )),
            (TargetKind::Devices | TargetKind::Edge, Collection::Modules) => Err(invalid(
                "The configuration is for devices, so the condition must not be one on devices.modules.",
            )),
            _ => Ok(condition),
        }
    }

    /// Parses a target condition of any configuration.
    ///
    /// # Errors
    /// As [`TargetCondition::parse`].
    pub fn parse_any(text: &str) -> Result<Self, HubError> {
        if text.trim().is_empty() {
            return Ok(Self::Nothing);
        }
        let filter = Filter::parse(text, Dialect::Twins, &Limits::QUERY)
            .map_err(|error| invalid(error.to_string()))?;
        if filter.collection == Collection::Jobs {
            return Err(invalid("The condition must be one on devices or devices.modules."));
        }
        let mut refused = None;
        if let Some(condition) = &filter.condition {
            condition.visit_paths(&mut |path| {
                if refused.is_none() && !is_allowed(path, filter.collection) {
                    refused = Some(path.to_string());
                }
            });
        }
        match refused {
            Some(path) => Err(invalid(format!(
                "It must be a filter condition based on 'deviceId', 'moduleId', 'tags', or 'properties.reported'. It \
                 contains: {path}"
            ))),
            None => Ok(Self::Filter(filter)),
        }
    }

    /// Returns whether a device or module matches.
    #[must_use]
    pub fn matches(&self, identity: &Identity, twin: &TwinDocument) -> bool {
        match self {
            Self::Nothing => false,
            Self::Filter(filter) => filter.keeps(&TwinRow { identity, twin }),
        }
    }

    /// Returns whether every device matches.
    pub(super) fn is_all(text: &str) -> bool {
        text.trim() == ALL
    }
}

fn invalid(text: impl Into<String>) -> HubError {
    let text = format!("Invalid targetCondition. {}", text.into());
    HubError::new(ErrorCode::InvalidConfigurationTargetCondition, text)
}

/// Returns whether a condition may read a path. Not what configurations themselves change, and not what changes with every
/// connection.
fn is_allowed(path: &Path, collection: Collection) -> bool {
    match path.root() {
        Some(
            Root::DeviceId
            | Root::Tags
            | Root::Reported
            | Root::Status
            | Root::DeviceScope
            | Root::AuthenticationType,
        ) => true,
        Some(Root::ModuleId) => collection == Collection::Modules,
        Some(Root::Capabilities) => !path.members().is_empty(),
        _ => false,
    }
}

/// A twin as a row, without the JSON of the whole twin.
struct TwinRow<'a> {
    identity: &'a Identity,
    twin: &'a TwinDocument,
}

impl Row for TwinRow<'_> {
    fn value(&self, root: Root, members: &[Member]) -> Item<'_> {
        let (identity, reported) = (self.identity, &self.twin.reported);
        let is_device = identity.id.module_str().is_none();
        let text = |text: Option<&'static str>| text.map_or(Item::Undefined, Item::String);
        let whole = match root {
            Root::Tags => Item::Object(&self.twin.tags),
            Root::Reported => match members {
                [Member::Name(name), rest @ ..] if name == "$metadata" => {
                    return Item::Object(&reported.metadata).at(rest);
                }
                [Member::Name(name), rest @ ..] if name == "$version" => {
                    return Item::Number(Number::from(reported.version)).at(rest);
                }
                _ => Item::Object(&reported.values),
            },
            Root::DeviceId => Item::String(identity.id.device_str()),
            Root::ModuleId => identity.id.module_str().map_or(Item::Undefined, Item::String),
            Root::Status => text(Some(identity.status.name())),
            Root::DeviceScope => identity.device_scope.as_deref().map_or(Item::Undefined, Item::String),
            Root::AuthenticationType => text(Some(identity.authentication.kind().name())),
            Root::Capabilities => {
                return match members {
                    [Member::Name(name)] if is_device && name == "iotEdge" => Item::Bool(identity.iot_edge),
                    _ => Item::Undefined,
                };
            }
            _ => Item::Undefined,
        };
        whole.at(members)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::apply_device;
    use crate::twins::Section;

    fn object(value: serde_json::Value) -> ferrohub_model::twin::Properties {
        serde_json::from_value(value).unwrap()
    }

    fn device(edge: bool) -> Identity {
        let request = serde_json::from_value(json!({ "capabilities": { "iotEdge": edge } })).unwrap();
        let id = ferrohub_model::IdentityId::parse("d-1").unwrap();
        apply_device(&id, &request, None, ferrohub_model::Timestamp::from_unix_seconds(1)).unwrap()
    }

    #[test]
    fn a_condition_is_equal_to_the_query_on_the_document() {
        let reported = Section { values: object(json!({ "state": "ok" })), ..Section::default() };
        let tags = object(json!({ "floor": 3, "site": { "name": "a" }, "list": [1, 2] }));
        let twin = TwinDocument { tags, reported, ..TwinDocument::default() };
        for edge in [false, true] {
            let identity = device(edge);
            let document = serde_json::to_value(twin.for_service(&identity, false)).unwrap();
            for text in [
                "*",
                "FROM devices",
                "tags.floor = 3",
                "tags.floor != 3",
                "tags.missing = 1",
                "NOT IS_DEFINED(tags.missing)",
                "tags.site.name = 'a' AND ARRAY_CONTAINS(tags.list, 2)",
                "IS_OBJECT(tags)",
                "properties.reported.state IN ['ok', 'x']",
                "properties.reported.$version >= 1",
                "IS_STRING(properties.reported.$metadata.$lastUpdated)",
                "deviceId = 'd-1'",
                "STARTSWITH(id, 'd-')",
                "capabilities.iotEdge = true",
                "status = 'enabled'",
                "IS_DEFINED(deviceScope)",
                "authenticationType = 'sas'",
            ] {
                let condition = TargetCondition::parse_any(text).unwrap();
                let TargetCondition::Filter(filter) = &condition else { panic!("{text}") };
                assert_eq!(
                    condition.matches(&identity, &twin),
                    filter.keeps(&document),
                    "{text}, edge: {edge}"
                );
            }
        }
        assert!(!TargetCondition::parse_any(" ").unwrap().matches(&device(false), &twin));
    }

    #[test]
    fn a_condition_reads_only_what_configurations_do_not_change() {
        for invalid in [
            "properties.desired.a = 1",
            "properties.a = 1",
            "configurations.[[a]].status = 'Applied'",
            "connectionState = 'Connected'",
            "edgeDeviceVM",
            "moduleId = 'm'",
            "tags.a = ",
            "SELECT * FROM devices",
            "FROM devices.jobs",
        ] {
            let error = TargetCondition::parse_any(invalid).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidConfigurationTargetCondition, "{invalid}");
            assert!(error.message.starts_with("Invalid targetCondition. "), "{error}");
        }
        let error = TargetCondition::parse_any("edgeDeviceVM = 1").unwrap_err();
        assert!(error.message.contains("It contains: "), "{error}");
    }
}
