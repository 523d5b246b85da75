//! The path of a desired property, as the content of a configuration writes it.

use std::fmt;

use ferrohub_model::twin::Properties;
use serde_json::Value;

/// What every path begins with.
const PREFIX: &str = "properties.desired";

/// A path below the desired properties of a twin; the empty path is all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SettingPath(Vec<String>);

impl SettingPath {
    /// Parses a path as the content of a configuration writes it: `properties.desired`, or `properties.desired.fan.speed`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(PREFIX)? {
            "" => Some(Self::default()),
            rest => Self::parse_stored(rest.strip_prefix('.')?).filter(|path| !path.is_whole()),
        }
    }

    /// Parses the form of [`Display`](fmt::Display): without what every path begins with.
    #[must_use]
    pub fn parse_stored(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        (!names.iter().any(String::is_empty)).then_some(Self(names))
    }

    /// Returns whether this is the path of all desired properties.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names from the desired properties down.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Returns whether `other` is this path, or below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Replaces the value at this path. Objects on the way to it are created; other values there are replaced by objects.
    pub(super) fn set(&self, root: &mut Properties, value: &Value) {
        match self.0.as_slice() {
            [] => *root = value.as_object().cloned().unwrap_or_default(),
            names => set(root, names, value),
        }
    }

    /// Removes the value at this path, and objects on the way to it that are empty then.
    pub(super) fn remove(&self, root: &mut Properties) {
        match self.0.as_slice() {
            [] => root.clear(),
            names => remove(root, names),
        }
    }
}

fn set(parent: &mut Properties, names: &[String], value: &Value) {
    match names {
        [] => {}
        [last] => {
            parent.insert(last.clone(), value.clone());
        }
        [first, rest @ ..] => {
            let mut object = match parent.remove(first) {
                Some(Value::Object(object)) => object,
                _ => Properties::new(),
            };
            set(&mut object, rest, value);
            parent.insert(first.clone(), object.into());
        }
    }
}

fn remove(parent: &mut Properties, names: &[String]) {
    let Some((first, rest)) = names.split_first() else { return };
    if rest.is_empty() {
        parent.remove(first);
        return;
    }
    if let Some(Value::Object(object)) = parent.get_mut(first) {
        remove(object, rest);
        if object.is_empty() {
            parent.remove(first);
        }
    }
}

/// Writes the names with dots between them. Names have no dots, so the form is unique.
impl fmt::Display for SettingPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> SettingPath {
        SettingPath::parse_stored(text).unwrap()
    }

    fn object(value: Value) -> Properties {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_path_begins_with_the_desired_properties() {
        assert!(SettingPath::parse("properties.desired").unwrap().is_whole());
        let parsed = SettingPath::parse("properties.desired.fan.speed").unwrap();
        assert_eq!((parsed.names(), parsed.to_string().as_str()), (path("fan.speed").names(), "fan.speed"));
        for invalid in [
            "",
            "tags.a",
            "properties",
            "properties.desiredfan",
            "properties.desired.",
            "properties.desired..a",
            "properties.desired.a.",
            "Properties.Desired.a",
            "properties.reported.a",
        ] {
            assert_eq!(SettingPath::parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn a_value_is_set_and_removed() {
        let mut root = object(json!({ "a": 1, "b": { "c": 2 } }));
        path("a.x.y").set(&mut root, &json!(3));
        path("b.d").set(&mut root, &json!({}));
        assert_eq!(Value::from(root.clone()), json!({ "a": { "x": { "y": 3 } }, "b": { "c": 2, "d": {} } }));
        path("a.x.y").remove(&mut root);
        path("b.c").remove(&mut root);
        path("nothing.here").remove(&mut root);
        assert_eq!(Value::from(root.clone()), json!({ "b": { "d": {} } }));
        path("").set(&mut root, &json!({ "z": 1 }));
        assert_eq!(Value::from(root.clone()), json!({ "z": 1 }));
        path("").remove(&mut root);
        assert!(root.is_empty());
        assert!(path("a").contains(&path("a.b")) && path("").contains(&path("a")));
        assert!(!path("a").contains(&path("ab")) && !path("a.b").contains(&path("a")));
    }
}
