//! A JSON Patch on a digital twin, as a change of desired properties.
//!
//! The hub applies the operations to the desired properties one after the other, and then derives one merge patch (RFC 7396)
//! from the paths that they name. So a property that is set to the value that it has is a change too: it gets a new version,
//! and the device is notified.

use std::collections::BTreeSet;

use ferrohub_model::digital_twin::{
    COMPONENT, COMPONENT_MARKER, DigitalTwinPatch, METADATA, PatchOperation, PatchPath,
};
use ferrohub_model::twin::{Properties, TwinChange};
use ferrohub_model::{ErrorCode, HubError};
use serde_json::Value;

use super::as_component;
use crate::twins::TwinDocument;

/// Returns the change of desired properties that a patch means for this twin.
///
/// # Errors
///
/// `InvalidDigitalTwinPatchPath` if a path names nothing that can be changed; `InvalidDigitalTwinPatch` if a value is none
/// that a property or component may have. The message names the operation.
pub fn desired_change(twin: &TwinDocument, patch: &DigitalTwinPatch) -> Result<TwinChange, HubError> {
    let mut change = Change {
        reported: &twin.reported.values,
        desired: twin.desired.values.clone(),
        touched: BTreeSet::new(),
    };
    for (index, operation) in patch.operations().iter().enumerate() {
        change.apply(operation).map_err(|refused| refused.into_error(index + 1, operation.path()))?;
    }
    if change.touched.is_empty() {
        return Ok(TwinChange::default());
    }
    Ok(TwinChange::desired(change.merge_patch(&twin.desired.values)))
}

/// Why an operation is refused.
enum Refused {
    Path(String),
    Value(String),
}

impl Refused {
    fn into_error(self, number: usize, path: &PatchPath) -> HubError {
        let (code, reason) = match self {
            Self::Path(reason) => (ErrorCode::InvalidDigitalTwinPatchPath, reason),
            Self::Value(reason) => (ErrorCode::InvalidDigitalTwinPatch, reason),
        };
        let path: String = path.to_string().chars().take(256).collect();
        HubError::new(code, format!("Operation {number} of the patch, on {path:?}: {reason}."))
    }
}

fn no_path<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Path(reason.into()))
}

fn no_value<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Value(reason.into()))
}

/// What a path names.
enum Target<'p> {
    /// A component.
    Component,
    /// A property of the device, or a member of its value: the path in the desired properties.
    OfDevice,
    /// A property of the component, or a member of its value.
    OfComponent(&'p str),
}

/// The desired properties while a patch is applied.
struct Change<'t> {
    reported: &'t Properties,
    desired: Properties,
    /// The paths in the desired properties that operations set or removed.
    touched: BTreeSet<Vec<String>>,
}

impl Change<'_> {
    fn apply(&mut self, operation: &PatchOperation) -> Result<(), Refused> {
        let path = operation.path().segments();
        check_names(path)?;
        match operation {
            PatchOperation::Add(_, value) => self.set(path, value)?,
            PatchOperation::Replace(_, value) => {
                if !self.has_value(path) {
                    return no_path("there is no value to replace; use add");
                }
                self.set(path, value)?;
            }
            PatchOperation::Remove(_) => self.remove(path)?,
        }
        self.touched.insert(path.to_vec());
        Ok(())
    }

    fn is_component(&self, name: &str) -> bool {
        as_component(self.desired.get(name)).is_some() || as_component(self.reported.get(name)).is_some()
    }

    fn target<'p>(&self, path: &'p [String]) -> Target<'p> {
        match path {
            [name] if self.is_component(name) => Target::Component,
            [name, _, ..] if self.is_component(name) => Target::OfComponent(name),
            _ => Target::OfDevice,
        }
    }

    /// Returns whether there is a desired value, or for a property or component a reported one.
    fn has_value(&self, path: &[String]) -> bool {
        let is_property = path.len() <= 1 + usize::from(matches!(self.target(path), Target::OfComponent(_)));
        find(&self.desired, path).is_some() || (is_property && find(self.reported, path).is_some())
    }

    fn set(&mut self, path: &[String], value: &Value) -> Result<(), Refused> {
        let is_known = path
            .first()
            .is_some_and(|name| self.desired.contains_key(name) || self.reported.contains_key(name));
        let is_new_component = path.len() == 1 && value.get(METADATA).is_some();
        let value = match self.target(path) {
            Target::OfDevice if is_new_component && is_known => {
                return no_value(
                    "it is a property and no component, so its value must not contain \"$metadata\"",
                );
            }
            Target::Component => component(value)?,
            Target::OfDevice if is_new_component => component(value)?,
            Target::OfDevice | Target::OfComponent(_) => property(value)?,
        };
        if let Target::OfComponent(name) = self.target(path) {
            self.mark(name);
        }
        let Some((last, parents)) = path.split_last() else { return no_path("it is empty") };
        match find_object_mut(&mut self.desired, parents) {
            Some(parent) => drop(parent.insert(last.clone(), value)),
            None if path.len() == 2 && !is_known => {
                return no_path(format!(
                    "there is no component {:?}; add it first, as an object with an empty \"$metadata\"",
                    parents.first().map_or("", String::as_str)
                ));
            }
            None => {
                return no_path(
                    "what the path goes through is no object with a desired value; set the property as a whole",
                );
            }
        }
        Ok(())
    }

    /// Makes the object of the component in the desired properties, which may be in the reported properties only.
    fn mark(&mut self, component: &str) {
        let object = self.desired.entry(component).or_insert_with(|| Properties::new().into());
        if !object.is_object() {
            *object = Properties::new().into();
        }
        if let Some(object) = object.as_object_mut() {
            object.insert(COMPONENT_MARKER.to_owned(), COMPONENT.into());
        }
    }

    fn remove(&mut self, path: &[String]) -> Result<(), Refused> {
        let removed = path
            .split_last()
            .and_then(|(last, parents)| find_object_mut(&mut self.desired, parents)?.remove(last));
        match removed {
            Some(_) => Ok(()),
            None => no_path("there is no desired value to remove"),
        }
    }

    /// Returns the merge patch that makes the desired properties from `old`.
    fn merge_patch(&self, old: &Properties) -> Properties {
        let mut patch = Properties::new();
        let mut covered: Option<&[String]> = None;
        // A path comes directly before the paths below it.
        for path in &self.touched {
            if covered.is_some_and(|above| path.starts_with(above)) {
                continue;
            }
            covered = Some(path);
            let value = match find(&self.desired, path) {
                None => Value::Null,
                Some(new) => replacement(find(old, path), new),
            };
            insert(&mut patch, path, value);
        }
        // A device recognises a component by its marker, in notifications too.
        for (name, value) in &mut patch {
            if let Value::Object(change) = value
                && as_component(self.desired.get(name)).is_some()
            {
                change.insert(COMPONENT_MARKER.to_owned(), COMPONENT.into());
            }
        }
        patch
    }
}

/// Checks names that no property and no component may have. The limits of twins check the rest.
fn check_names(path: &[String]) -> Result<(), Refused> {
    for name in path {
        if name.is_empty() {
            return no_path("a name in the path is empty");
        }
        if name == COMPONENT_MARKER || name.starts_with('$') {
            return no_path(format!("{name:.32?} cannot be changed"));
        }
    }
    Ok(())
}

/// Returns the value of a component as the desired properties store it.
fn component(value: &Value) -> Result<Value, Refused> {
    let Some(object) = value.as_object() else {
        return no_value("the value of a component must be an object with an empty \"$metadata\"");
    };
    if object.get(METADATA).and_then(Value::as_object).is_none_or(|metadata| !metadata.is_empty()) {
        return no_value("the value of a component must have the member \"$metadata\": {}");
    }
    let mut stored = Properties::new();
    stored.insert(COMPONENT_MARKER.to_owned(), COMPONENT.into());
    for (name, value) in object.iter().filter(|(name, _)| *name != METADATA) {
        if name == COMPONENT_MARKER {
            return no_value("\"__t\" cannot be set; \"$metadata\" marks a component");
        }
        stored.insert(name.clone(), property(value)?);
    }
    Ok(stored.into())
}

/// Returns the value of a property as the desired properties store it.
fn property(value: &Value) -> Result<Value, Refused> {
    match value {
        Value::Null => no_value("a value must not be or contain null; use remove"),
        Value::Object(object) => {
            if object.contains_key(COMPONENT_MARKER) {
                return no_value("\"__t\" cannot be set; \"$metadata\" marks a component");
            }
            if object.contains_key(METADATA) {
                return no_value("only the value of a component of the device has \"$metadata\"");
            }
            object.values().try_for_each(|value| property(value).map(drop))?;
            Ok(value.clone())
        }
        other => Ok(other.clone()),
    }
}

fn find<'v>(object: &'v Properties, path: &[String]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(object.get(first)?, |value, name| value.as_object()?.get(name))
}

fn find_object_mut<'v>(object: &'v mut Properties, path: &[String]) -> Option<&'v mut Properties> {
    path.iter().try_fold(object, |object, name| object.get_mut(name)?.as_object_mut())
}

/// Inserts a value into a patch, with the objects above it.
fn insert(patch: &mut Properties, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => drop(patch.insert(name.clone(), value)),
        [name, rest @ ..] => {
            let inner = patch.entry(name).or_insert_with(|| Properties::new().into());
            if let Some(inner) = inner.as_object_mut() {
                insert(inner, rest, value);
            }
        }
    }
}

/// Returns the merge patch that replaces `old` by `new`: all of `new`, and `null` for each member that only `old` has.
fn replacement(old: Option<&Value>, new: &Value) -> Value {
    match (old, new) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let kept = new.iter().map(|(name, value)| (name.clone(), replacement(old.get(name), value)));
            let removed = old.keys().filter(|name| !new.contains_key(*name));
            kept.chain(removed.map(|name| (name.clone(), Value::Null))).collect::<Properties>().into()
        }
        (_, new) => new.clone(),
    }
}

#[cfg(test)]
mod tests;
