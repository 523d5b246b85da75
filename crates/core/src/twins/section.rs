//! One section of a twin: values, and metadata with the time of each value's last change.

use ferrohub_model::Timestamp;
use ferrohub_model::twin::{METADATA, Properties, VERSION};
use serde_json::Value;

/// Member of the metadata of a node: when it last changed.
pub(crate) const LAST_UPDATED: &str = "$lastUpdated";
/// Member of the metadata of a node of the desired properties: the version of that change.
pub(crate) const LAST_UPDATED_VERSION: &str = "$lastUpdatedVersion";

/// Desired or reported properties.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The values, without keys that start with `$`.
    pub values: Properties,
    /// The metadata: a tree of the same shape with `$lastUpdated` at each node. An array is a single node.
    pub metadata: Properties,
    /// The version: starts at 1 and grows by 1 with each change.
    pub version: u64,
}

impl Default for Section {
    fn default() -> Self {
        let never = Stamp { updated: Timestamp::NEVER.to_fixed_width(), version: None };
        Self { values: Properties::new(), metadata: never.to_metadata(), version: 1 }
    }
}

/// The metadata that a change writes to every node it touches.
struct Stamp {
    updated: String,
    /// The section version after the change; `None` in sections without `$lastUpdatedVersion`.
    version: Option<u64>,
}

impl Stamp {
    fn write_to(&self, metadata: &mut Properties) {
        metadata.insert(LAST_UPDATED.to_owned(), self.updated.clone().into());
        if let Some(version) = self.version {
            metadata.insert(LAST_UPDATED_VERSION.to_owned(), version.into());
        }
    }

    fn to_metadata(&self) -> Properties {
        let mut node = Properties::new();
        self.write_to(&mut node);
        node
    }
}

impl Section {
    /// Merges `patch` into the values: objects are merged recursively, `null` deletes a key, and other keys stay. With
    /// `versioned`, the metadata of each changed node also gets `$lastUpdatedVersion`.
    pub(super) fn merge(&mut self, patch: &Properties, now: Timestamp, versioned: bool) {
        self.version += 1;
        let stamp = self.stamp(now, versioned);
        merge(&mut self.values, &mut self.metadata, patch, &stamp);
    }

    /// Replaces the whole section with `values`.
    pub(super) fn replace(&mut self, values: &Properties, now: Timestamp, versioned: bool) {
        self.values.clear();
        self.metadata.clear();
        self.merge(values, now, versioned);
    }

    fn stamp(&self, now: Timestamp, versioned: bool) -> Stamp {
        Stamp { updated: now.to_fixed_width(), version: versioned.then_some(self.version) }
    }

    /// Returns the section as a device reads it: the values with `$version`.
    #[must_use]
    pub fn for_device(&self) -> Properties {
        versioned(self.values.clone(), self.version)
    }

    /// Returns `change` with the section's version and the metadata of the changed nodes. `change` is the change that
    /// led to this section.
    pub(super) fn change_with_metadata(&self, change: &Properties) -> Properties {
        let mut values = versioned(change.clone(), self.version);
        values.insert(METADATA.to_owned(), metadata_of_change(&self.metadata, change).into());
        values
    }

    /// Returns the section as a service reads it: the values with `$version` and `$metadata`.
    #[must_use]
    pub fn for_service(&self) -> Properties {
        let mut values = self.for_device();
        values.insert(METADATA.to_owned(), self.metadata.clone().into());
        values
    }
}

/// Returns the metadata of this node and of the nodes below it that `change` touches.
fn metadata_of_change(metadata: &Properties, change: &Properties) -> Properties {
    let mut part = Properties::new();
    for (key, node) in metadata {
        match (change.get(key), node) {
            (None, _) if key.starts_with('$') => drop(part.insert(key.clone(), node.clone())),
            (None, _) => {}
            (Some(Value::Object(change)), Value::Object(node)) => {
                part.insert(key.clone(), metadata_of_change(node, change).into());
            }
            (Some(_), node) => drop(part.insert(key.clone(), node.clone())),
        }
    }
    part
}

/// Returns `values` with `$version`.
pub(super) fn versioned(mut values: Properties, version: u64) -> Properties {
    values.insert(VERSION.to_owned(), version.into());
    values
}

/// Returns `values` with the removals of `patch`: `null` for each key that it removes and `values` has not.
pub(super) fn with_removals(mut values: Properties, patch: &Properties) -> Properties {
    for (key, change) in patch {
        match (change, values.get_mut(key)) {
            (Value::Null, None) => drop(values.insert(key.clone(), Value::Null)),
            (Value::Object(change), Some(Value::Object(inner))) => {
                *inner = with_removals(std::mem::take(inner), change);
            }
            _ => {}
        }
    }
    values
}

/// Merges `patch` into the tags. Tags have no metadata and no version.
pub(super) fn merge_tags(tags: &mut Properties, patch: &Properties) {
    for (key, change) in patch {
        match change {
            Value::Null => drop(tags.remove(key)),
            Value::Object(change) => {
                let mut inner = take_object(tags, key);
                merge_tags(&mut inner, change);
                tags.insert(key.clone(), inner.into());
            }
            other => drop(tags.insert(key.clone(), other.clone())),
        }
    }
}

fn merge(values: &mut Properties, metadata: &mut Properties, patch: &Properties, stamp: &Stamp) {
    stamp.write_to(metadata);
    for (key, change) in patch {
        match change {
            Value::Null => {
                values.remove(key);
                metadata.remove(key);
            }
            Value::Object(change) => {
                // An object replaces a value of another type, so its metadata starts empty too.
                if !values.get(key).is_some_and(Value::is_object) {
                    metadata.remove(key);
                }
                let (mut inner, mut inner_metadata) = (take_object(values, key), take_object(metadata, key));
                merge(&mut inner, &mut inner_metadata, change, stamp);
                values.insert(key.clone(), inner.into());
                metadata.insert(key.clone(), inner_metadata.into());
            }
            other => {
                values.insert(key.clone(), other.clone());
                metadata.insert(key.clone(), stamp.to_metadata().into());
            }
        }
    }
}

/// Removes and returns the object at `key`; returns an empty object if the value is missing or of another type.
fn take_object(parent: &mut Properties, key: &str) -> Properties {
    match parent.remove(key) {
        Some(Value::Object(object)) => object,
        _ => Properties::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Properties {
        match value {
            Value::Object(object) => object,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn a_patch_merges_objects_and_null_deletes() {
        let now = Timestamp::from_unix_seconds(0);
        let mut section = Section::default();
        section.merge(&object(json!({ "a": { "b": 1, "c": [1, 2] }, "d": "x" })), now, true);
        section.merge(&object(json!({ "a": { "b": null, "e": {} }, "d": { "f": true } })), now, true);
        assert_eq!(
            Value::from(section.for_device()),
            json!({ "a": { "c": [1, 2], "e": {} }, "d": { "f": true }, "$version": 3 })
        );
        section.merge(&object(json!({ "a": null, "d": 1, "absent": null })), now, true);
        assert_eq!(Value::from(section.values), json!({ "d": 1 }));
    }

    #[test]
    fn removals_are_added_to_what_is_there() {
        let values = object(json!({ "a": { "b": 1 }, "c": 2, "d": {} }));
        let patch = object(
            json!({ "a": { "b": null, "x": null, "y": 1 }, "c": { "z": null }, "d": null, "e": null }),
        );
        assert_eq!(
            Value::from(with_removals(values, &patch)),
            json!({ "a": { "b": 1, "x": null }, "c": 2, "d": {}, "e": null })
        );
    }

    #[test]
    fn metadata_has_the_time_of_each_values_last_change() {
        let mut section = Section::default();
        let never = "0001-01-01T00:00:00Z";
        assert_eq!(Value::from(section.metadata.clone()), json!({ "$lastUpdated": never }));
        let (first, second) = (Timestamp::from_unix_seconds(0), Timestamp::from_unix_seconds(1));
        section.merge(&object(json!({ "a": { "b": 1, "c": [1] }, "d": 1 })), first, true);
        section.merge(&object(json!({ "a": { "b": 2 }, "d": null })), second, true);
        let new = json!({ "$lastUpdated": "1970-01-01T00:00:01.0000000Z", "$lastUpdatedVersion": 3 });
        let mut expected = new.clone();
        expected["a"] = new.clone();
        expected["a"]["b"] = new;
        expected["a"]["c"] =
            json!({ "$lastUpdated": "1970-01-01T00:00:00.0000000Z", "$lastUpdatedVersion": 2 });
        assert_eq!(Value::from(section.metadata), expected);
    }

    #[test]
    fn a_value_replaced_by_an_object_leaves_no_metadata() {
        let now = Timestamp::from_unix_seconds(0);
        let mut section = Section::default();
        section.merge(&object(json!({ "a": { "b": 1 } })), now, false);
        section.merge(&object(json!({ "a": 1 })), now, false);
        section.merge(&object(json!({ "a": { "c": 1 } })), now, false);
        assert_eq!(Value::from(section.values.clone()), json!({ "a": { "c": 1 } }));
        let stamp = json!({ "$lastUpdated": "1970-01-01T00:00:00.0000000Z" });
        assert_eq!(section.metadata["a"]["c"], stamp);
        assert_eq!(section.metadata["a"].get("b"), None);
        section.replace(&object(json!({ "z": 1 })), now, false);
        assert_eq!(Value::from(section.values), json!({ "z": 1 }));
        assert_eq!(section.metadata.keys().collect::<Vec<_>>(), ["$lastUpdated", "z"]);
    }
}
