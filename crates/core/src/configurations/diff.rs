//! The difference of two objects as a merge patch.

use ferrohub_model::twin::Properties;
use serde_json::Value;

/// Returns the smallest patch that turns `old` into `new` when it is merged: `null` removes a key.
pub(super) fn merge_patch(old: &Properties, new: &Properties) -> Properties {
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| {
        let change = match (old.get(key), value) {
            (Some(old), new) if old == new => return None,
            (Some(Value::Object(old)), Value::Object(new)) => merge_patch(old, new).into(),
            (_, new) => new.clone(),
        };
        Some((key.clone(), change))
    });
    removed.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_has_only_what_differs() {
        let object = |value: Value| serde_json::from_value::<Properties>(value).unwrap();
        let old = object(
            json!({ "same": { "a": [1] }, "gone": 1, "in": { "x": 1, "y": { "z": 1 } }, "to": 1, "from": {} }),
        );
        let new = object(
            json!({ "same": { "a": [1] }, "in": { "x": 2, "y": {}, "w": {} }, "to": { "b": 1 }, "from": 1 }),
        );
        assert_eq!(
            Value::from(merge_patch(&old, &new)),
            json!({ "gone": null, "in": { "x": 2, "y": { "z": null }, "w": {} }, "to": { "b": 1 }, "from": 1 })
        );
        assert!(merge_patch(&new, &new).is_empty());
    }
}
