//! Limits on the content of a twin.

use ferrohub_model::twin::Properties;
use ferrohub_model::{ErrorCode, HubError};
use serde_json::Value;

/// The allowed integers. Larger ones lose precision in clients that use floating point.
const INTEGERS: std::ops::RangeInclusive<i64> = -4_503_599_627_370_496..=4_503_599_627_370_495;

/// Size of a number in bytes, as counted for a section.
const NUMBER_BYTES: usize = 8;
/// Size of a boolean or `null` in bytes, as counted for a section.
const BOOL_BYTES: usize = 4;

/// Limits of a twin.
#[derive(Debug, Clone)]
pub struct TwinLimits {
    /// Maximum nesting depth of objects and arrays in one section.
    pub depth: usize,
    /// Maximum length of a key, in bytes.
    pub key_bytes: usize,
    /// Maximum length of a string, in bytes.
    pub string_bytes: usize,
    /// Maximum size of the tags: the bytes of all keys and strings, plus 8 per number and 4 per boolean or `null`.
    pub tags_bytes: usize,
    /// Maximum size of the desired properties, counted likewise.
    pub desired_bytes: usize,
    /// Maximum size of the reported properties, counted likewise.
    pub reported_bytes: usize,
}

impl Default for TwinLimits {
    fn default() -> Self {
        Self {
            depth: 10,
            key_bytes: 1024,
            string_bytes: 4096,
            tags_bytes: 8 * 1024,
            desired_bytes: 32 * 1024,
            reported_bytes: 32 * 1024,
        }
    }
}

fn limit_error(section: &str, reason: impl std::fmt::Display) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, format!("{section}: {reason}."))
}

/// The desired properties, as messages name them.
const DESIRED: &str = "properties.desired";

impl TwinLimits {
    /// Checks every key and value of a change of desired properties.
    pub(crate) fn check_desired_change(&self, change: &Properties) -> Result<(), HubError> {
        self.check_change(DESIRED, change)
    }

    /// Checks the depth and the size of desired properties.
    pub(crate) fn check_desired(&self, values: &Properties) -> Result<(), HubError> {
        self.check_section(DESIRED, values, self.desired_bytes)
    }

    /// Checks every key and value of a change.
    pub(super) fn check_change(&self, section: &str, change: &Properties) -> Result<(), HubError> {
        for (key, value) in change {
            self.check_key(key).map_err(|reason| limit_error(section, reason))?;
            self.check_value(value, false)
                .map_err(|reason| limit_error(section, format!("{key:?} {reason}")))?;
            for object in objects_in(value) {
                self.check_change(section, object)?;
            }
        }
        Ok(())
    }

    fn check_key(&self, key: &str) -> Result<(), String> {
        if key.is_empty() {
            return Err("a key is empty".to_owned());
        }
        if key.len() > self.key_bytes {
            let start: String = key.chars().take(32).collect();
            return Err(format!(
                "the key that begins with {start:?} is longer than {} bytes",
                self.key_bytes
            ));
        }
        match key.chars().find(|c| c.is_control() || matches!(c, '.' | '$' | ' ')) {
            Some(forbidden) => {
                Err(format!("the key {key:?} contains {forbidden:?}, which is not allowed in a key"))
            }
            None => Ok(()),
        }
    }

    /// Checks a value and what is in it. `null` deletes a key, so it has no meaning inside an array.
    fn check_value(&self, value: &Value, in_array: bool) -> Result<(), String> {
        match value {
            Value::Null if in_array => Err("contains null inside an array".to_owned()),
            Value::String(text) if text.len() > self.string_bytes => {
                Err(format!("contains a string longer than {} bytes", self.string_bytes))
            }
            Value::Number(number) if !number.is_f64() => {
                let fits = number.as_i64().is_some_and(|number| INTEGERS.contains(&number));
                let (min, max) = INTEGERS.into_inner();
                fits.then_some(()).ok_or_else(|| format!("is a whole number outside [{min}; {max}]"))
            }
            Value::Array(values) => values.iter().try_for_each(|value| self.check_value(value, true)),
            // The values of other objects are checked with their own keys.
            Value::Object(object) if in_array => {
                object.values().try_for_each(|value| self.check_value(value, true))
            }
            _ => Ok(()),
        }
    }

    /// Checks the depth and the size of a section after a change.
    pub(super) fn check_section(
        &self,
        section: &str,
        values: &Properties,
        max_bytes: usize,
    ) -> Result<(), HubError> {
        if values.values().any(|value| depth(value) > self.depth) {
            let text = format!("objects and arrays are nested deeper than {} levels", self.depth);
            return Err(limit_error(section, text));
        }
        let size = object_size(values);
        if size > max_bytes {
            return Err(limit_error(
                section,
                format!("the size would be {size} bytes; the maximum is {max_bytes}"),
            ));
        }
        Ok(())
    }
}

/// Returns the outermost objects in a value.
fn objects_in(value: &Value) -> Vec<&Properties> {
    match value {
        Value::Object(object) => vec![object],
        Value::Array(values) => values.iter().flat_map(objects_in).collect(),
        _ => Vec::new(),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn object_size(object: &Properties) -> usize {
    object.iter().map(|(key, value)| key.len() + size(value)).sum()
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => BOOL_BYTES,
        Value::Number(_) => NUMBER_BYTES,
        Value::String(text) => text.chars().filter(|c| !c.is_control()).map(char::len_utf8).sum(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(object) => object_size(object),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value) -> Result<(), String> {
        let Value::Object(object) = value else { panic!("not an object: {value}") };
        let limits = TwinLimits::default();
        limits
            .check_change("tags", &object)
            .and_then(|()| limits.check_section("tags", &object, limits.tags_bytes))
            .map_err(|error| error.message.into_owned())
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
    }

    #[test]
    fn values_within_the_limits_are_accepted() {
        check(json!({ "é": -1.5, "a-b_c": [true, "x", { "y": [] }], "n": -4_503_599_627_370_496_i64 }))
            .unwrap();
        check(json!({ "a": "x".repeat(4096) })).unwrap();
        check(json!({ "k".repeat(1024): 1 })).unwrap();
        check(nested(11)).unwrap();
    }

    #[test]
    fn a_value_beyond_a_limit_is_refused_and_the_error_names_it() {
        for (value, expected) in [
            (json!({ "a": { "b.c": 1 } }), "\"b.c\" contains '.'"),
            (json!({ "$a": 1 }), "contains '$'"),
            (json!({ "a b": null }), "contains ' '"),
            (json!({ "a\u{85}": 1 }), "which is not allowed in a key"),
            (json!({ "": 1 }), "a key is empty"),
            (json!({ "a": [{ "": 1 }] }), "a key is empty"),
            (json!({ "k".repeat(1025): 1 }), "longer than 1024 bytes"),
            (json!({ "a": ["x".repeat(4097)] }), "\"a\" contains a string longer than 4096 bytes"),
            (json!({ "a": 4_503_599_627_370_496_i64 }), "whole number outside"),
            (json!({ "a": u64::MAX }), "whole number outside"),
            (json!({ "a": { "b": [1, null] } }), "\"b\" contains null inside an array"),
            (json!({ "a": [[null]] }), "\"a\" contains null inside an array"),
            (json!({ "a": [{ "b": { "c": null } }] }), "\"a\" contains null inside an array"),
            (json!({ "a": [{ "b": u64::MAX }] }), "whole number outside"),
            (nested(12), "nested deeper than 10"),
            (json!({ "a": [[[[[[[[[[[]]]]]]]]]]] }), "nested deeper than 10"),
            (json!({ "a": vec!["x".repeat(4096); 2] }), "the size would be 8193 bytes; the maximum is 8192"),
        ] {
            let error = check(value).unwrap_err();
            assert!(error.starts_with("tags: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn sizes_are_counted_as_documented() {
        let object = json!({ "ab": 1, "c": true, "d": "é\u{1}", "e": { "f": [1.5, null] } });
        let Value::Object(object) = object else { unreachable!() };
        assert_eq!(object_size(&object), (2 + 8) + (1 + 4) + (1 + 2) + 1 + (1 + 8 + 4));
    }
}
