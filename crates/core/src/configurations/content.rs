//! What a configuration sets, parsed.

use std::collections::BTreeMap;

use ferrohub_model::configuration::{ConfigurationContent, Settings};
use ferrohub_model::twin::Properties;
use ferrohub_model::{HubError, ModuleId};
use serde_json::Value;

use super::{SettingPath, invalid_content};
use crate::twins::TwinLimits;

/// The module of an edge device that runs the others.
pub(super) const EDGE_AGENT: &str = "$edgeAgent";

/// A value for a path of the desired properties.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The path.
    pub path: SettingPath,
    /// The value that replaces what is at the path; `None` removes it. It contains no `null`.
    pub value: Option<Value>,
}

/// What a configuration sets. Settings are in the order of their paths, so a path is before those below it.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Settings of devices.
    Devices(Vec<Setting>),
    /// Settings of modules.
    Modules(Vec<Setting>),
    /// Settings of the modules of edge devices.
    Edge(BTreeMap<ModuleId, Vec<Setting>>),
}

impl Content {
    /// Parses the content of a request.
    ///
    /// # Errors
    /// `InvalidConfigurationContent`; its message names what is wrong.
    pub fn parse(content: &ConfigurationContent, limits: &TwinLimits) -> Result<Self, HubError> {
        let ConfigurationContent { device_content, modules_content, module_content } = content;
        match (device_content.is_empty(), modules_content.is_empty(), module_content.is_empty()) {
            (false, true, true) => Ok(Self::Devices(settings("deviceContent", device_content, limits)?)),
            (true, true, false) => Ok(Self::Modules(settings("moduleContent", module_content, limits)?)),
            (true, false, true) => {
                let modules = modules_content.iter().map(|(module, content)| {
                    let id = ModuleId::new(module).map_err(|error| {
                        invalid_content(format!(
                            "modulesContent: the module id {module:?} is not valid: {error}."
                        ))
                    })?;
                    Ok((id, settings(&format!("modulesContent.{module}"), content, limits)?))
                });
                Ok(Self::Edge(modules.collect::<Result<_, HubError>>()?))
            }
            _ => Err(invalid_content(
                "The content must have settings in exactly one of deviceContent, modulesContent and moduleContent.",
            )),
        }
    }

    /// Returns whether this is a whole deployment of an edge device, which others can be layered over: it replaces the
    /// properties of `$edgeAgent`, and sets no single property of any module.
    #[must_use]
    pub fn is_base_deployment(&self) -> bool {
        let Self::Edge(modules) = self else { return false };
        let replaces_agent = |(id, settings): (&ModuleId, &Vec<Setting>)| {
            id.as_str() == EDGE_AGENT && settings.iter().any(|setting| setting.path.is_whole())
        };
        modules.iter().any(replaces_agent)
            && modules.values().flatten().all(|setting| setting.path.is_whole())
    }
}

fn settings(member: &str, settings: &Settings, limits: &TwinLimits) -> Result<Vec<Setting>, HubError> {
    if settings.is_empty() {
        return Err(invalid_content(format!("{member} has no settings.")));
    }
    let mut parsed = Vec::with_capacity(settings.len());
    let mut values = Properties::new();
    for (name, value) in settings {
        let path = SettingPath::parse(name).ok_or_else(|| {
            invalid_content(format!(
                "{member}: the path {name:?} is not valid. It must be \"properties.desired\" or begin with \
                 \"properties.desired.\"."
            ))
        })?;
        let value = without_nulls(value);
        if path.is_whole() && !value.as_ref().is_some_and(Value::is_object) {
            return Err(invalid_content(format!("{member}: the value of {name:?} must be an object.")));
        }
        if let Some(value) = &value {
            path.set(&mut values, value);
        }
        // Also for a property that is removed: its name must be one that a twin can have.
        let mut change = Properties::new();
        path.set(&mut change, &value.clone().unwrap_or_else(|| Value::Object(Properties::new())));
        limits.check_desired_change(&change).map_err(|error| in_member(member, &error))?;
        parsed.push(Setting { path, value });
    }
    limits.check_desired(&values).map_err(|error| in_member(member, &error))?;
    parsed.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(parsed)
}

fn in_member(member: &str, error: &HubError) -> HubError {
    invalid_content(format!("{member}: a twin cannot have these properties. {}", error.message))
}

/// Returns a value without the members that are `null`; `None` for `null`. In arrays, `null` stays, and is refused later.
fn without_nulls(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(object) => {
            let members = object.iter().filter_map(|(key, value)| Some((key.clone(), without_nulls(value)?)));
            Some(Value::Object(members.collect()))
        }
        other => Some(other.clone()),
    }
}

/// Returns whether two contents set the same. Clients send back what they have read with another order of members, and with
/// other forms of numbers.
pub(super) fn is_same(left: &ConfigurationContent, right: &ConfigurationContent) -> bool {
    let same = |left: &Settings, right: &Settings| {
        left.len() == right.len()
            && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| is_same_value(value, other)))
    };
    same(&left.device_content, &right.device_content)
        && same(&left.module_content, &right.module_content)
        && left.modules_content.len() == right.modules_content.len()
        && left.modules_content.iter().all(|(module, settings)| {
            right.modules_content.get(module).is_some_and(|other| same(settings, other))
        })
}

fn is_same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| is_same_value(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| is_same_value(value, other)))
        }
        (left, right) => left == right,
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::ErrorCode;
    use serde_json::json;

    use super::*;

    fn content(value: Value) -> ConfigurationContent {
        serde_json::from_value(value).unwrap()
    }

    fn parse(value: Value) -> Result<Content, HubError> {
        Content::parse(&content(value), &TwinLimits::default())
    }

    #[test]
    fn exactly_one_member_has_settings_and_the_others_may_be_empty() {
        let parsed = parse(json!({
            "deviceContent": { "properties.desired.b": { "x": null, "y": 1 }, "properties.desired.a": null },
            "modulesContent": {}, "moduleContent": {},
        }));
        let Ok(Content::Devices(settings)) = parsed else { panic!("{parsed:?}") };
        let settings: Vec<_> =
            settings.iter().map(|setting| (setting.path.to_string(), &setting.value)).collect();
        assert_eq!(settings, [("a".to_owned(), &None), ("b".to_owned(), &Some(json!({ "y": 1 })))]);
        for invalid in [
            json!({}),
            json!({ "deviceContent": { "properties.desired.a": 1 }, "moduleContent": { "properties.desired.a": 1 } }),
            json!({ "deviceContent": { "tags.a": 1 } }),
            json!({ "deviceContent": { "properties.desired": 1 } }),
            json!({ "deviceContent": { "properties.desired": null } }),
            json!({ "deviceContent": { "properties.desired.$a": 1 } }),
            json!({ "deviceContent": { "properties.desired.$a": null } }),
            json!({ "deviceContent": { "properties.desired.a": { "b.c": 1 } } }),
            json!({ "deviceContent": { "properties.desired.a": [null] } }),
            json!({ "deviceContent": { "properties.desired.a": "x".repeat(4097) } }),
            json!({ "deviceContent": { "properties.desired.a": vec!["x".repeat(4096); 9] } }),
            json!({ "modulesContent": { "m": {} } }),
            json!({ "modulesContent": { "a b": { "properties.desired": {} } } }),
        ] {
            assert_eq!(
                parse(invalid.clone()).unwrap_err().code,
                ErrorCode::InvalidConfigurationContent,
                "{invalid}"
            );
        }
    }

    #[test]
    fn a_deployment_that_sets_single_properties_is_layered() {
        let is_base = |value| parse(json!({ "modulesContent": value })).unwrap().is_base_deployment();
        let agent = json!({ "properties.desired": { "modules": {} } });
        assert!(is_base(json!({ "$edgeAgent": agent, "$edgeHub": { "properties.desired": {} } })));
        assert!(!is_base(json!({ "$edgeAgent": { "properties.desired.modules.m": { "type": "docker" } } })));
        assert!(!is_base(json!({ "$edgeAgent": agent, "m": { "properties.desired.a": 1 } })));
        assert!(!is_base(json!({ "m": { "properties.desired": { "a": 1 } } })));
    }

    #[test]
    fn content_is_compared_by_value() {
        let left = content(
            json!({ "deviceContent": { "properties.desired.a": { "x": 66, "y": 28.02, "z": [1] } } }),
        );
        let right = content(
            json!({ "deviceContent": { "properties.desired.a": { "z": [1.0], "y": 28.02, "x": 66.0 } } }),
        );
        assert!(is_same(&left, &right));
        let other = content(
            json!({ "deviceContent": { "properties.desired.a": { "x": 67, "y": 28.02, "z": [1] } } }),
        );
        assert!(!is_same(&left, &other));
        assert!(!is_same(&left, &content(json!({ "moduleContent": { "properties.desired.a": 1 } }))));
    }
}
