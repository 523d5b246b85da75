//! The rule that makes the desired properties of a twin from the configurations that it matches.
//!
//! The settings of the configurations are put over each other, from the lowest priority to the highest. A setting replaces
//! the whole value at its path, also what configurations of lower priority set below it. What earlier configurations have set
//! and none of the present ones sets is removed. Other properties of the twin stay.

use std::collections::BTreeMap;

use ferrohub_model::twin::Properties;

use super::{Setting, SettingPath};

/// The settings of one configuration for one twin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    /// The id of the configuration.
    pub(super) configuration: &'a str,
    /// Its settings, a path before those below it.
    pub(super) settings: &'a [Setting],
}

/// Returns the paths that the layers set and do not override, each with the id of its configuration. `layers` is from the
/// lowest priority to the highest.
pub(super) fn owned_paths(layers: &[Layer<'_>]) -> BTreeMap<String, String> {
    let mut owned: Vec<(&SettingPath, &str)> = Vec::new();
    for layer in layers {
        for setting in layer.settings {
            owned.retain(|(path, _)| !setting.path.contains(path));
            owned.push((&setting.path, layer.configuration));
        }
    }
    owned.into_iter().map(|(path, id)| (path.to_string(), id.to_owned())).collect()
}

/// Returns the desired properties after the layers. `old_paths` are the paths that configurations have set before.
pub(super) fn with_layers<'p>(
    old: &Properties,
    old_paths: impl Iterator<Item = &'p String>,
    layers: &[Layer<'_>],
) -> Properties {
    let mut values = old.clone();
    for path in old_paths.filter_map(|path| SettingPath::parse_stored(path)) {
        path.remove(&mut values);
    }
    for setting in layers.iter().flat_map(|layer| layer.settings) {
        match &setting.value {
            Some(value) => setting.path.set(&mut values, value),
            None => setting.path.remove(&mut values),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(pairs: &[(&str, Value)]) -> Vec<Setting> {
        let setting = |(path, value): &(&str, Value)| Setting {
            path: SettingPath::parse_stored(path).unwrap(),
            value: (!value.is_null()).then(|| value.clone()),
        };
        pairs.iter().map(setting).collect()
    }

    fn apply(old: Value, old_paths: &[&str], layers: &[(&str, &[Setting])]) -> (Value, Value) {
        let layers: Vec<_> =
            layers.iter().map(|(configuration, settings)| Layer { configuration, settings }).collect();
        let old_paths: Vec<String> = old_paths.iter().map(|path| (*path).to_owned()).collect();
        let old = serde_json::from_value(old).unwrap();
        let new = with_layers(&old, old_paths.iter(), &layers);
        (new.into(), json!(owned_paths(&layers)))
    }

    #[test]
    fn a_higher_layer_replaces_what_it_sets_and_nothing_else() {
        let low = settings(&[("a", json!({ "x": 1, "y": 2 })), ("b", json!(1)), ("c.d", json!(1))]);
        let high = settings(&[("a.x", json!(3)), ("c", json!({})), ("e", Value::Null)]);
        let (values, owned) =
            apply(json!({ "user": 1, "b": 0, "e": 5 }), &[], &[("low", &low), ("high", &high)]);
        assert_eq!(values, json!({ "user": 1, "a": { "x": 3, "y": 2 }, "b": 1, "c": {} }));
        assert_eq!(owned, json!({ "a": "low", "a.x": "high", "b": "low", "c": "high", "e": "high" }));
        let (values, owned) = apply(values, &["a", "a.x", "b", "c", "e"], &[("low", &low)]);
        assert_eq!(values, json!({ "user": 1, "a": { "x": 1, "y": 2 }, "b": 1, "c": { "d": 1 } }));
        assert_eq!(owned, json!({ "a": "low", "b": "low", "c.d": "low" }));
        assert_eq!(apply(values, &["a", "b", "c.d"], &[]), (json!({ "user": 1 }), json!({})));
    }

    #[test]
    fn all_properties_can_be_replaced() {
        let whole = settings(&[("", json!({ "modules": { "m": 1 } }))]);
        let layer = settings(&[("modules.n", json!(2))]);
        let (values, owned) = apply(json!({ "user": 1 }), &[], &[("base", &whole), ("layer", &layer)]);
        assert_eq!(values, json!({ "modules": { "m": 1, "n": 2 } }));
        assert_eq!(owned, json!({ "": "base", "modules.n": "layer" }));
        assert_eq!(apply(values, &["", "modules.n"], &[]).0, json!({}));
    }
}
