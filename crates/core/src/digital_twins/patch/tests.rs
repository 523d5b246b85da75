//! Patches on digital twins: the change of desired properties, and refusals.

use ferrohub_model::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::twins::{TwinLimits, UpdateMode};

fn object(value: Value) -> Properties {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

/// A twin with the desired and reported properties of the tests.
fn twin() -> TwinDocument {
    let (limits, now) = (TwinLimits::default(), Timestamp::from_unix_seconds(0));
    let desired = json!({
        "interval": 5,
        "config": { "rate": 1, "mode": { "a": 1, "b": 2 } },
        "thermostat1": { "__t": "c", "targetTemperature": 20, "limits": { "low": 1, "high": 9 } },
    });
    let reported = json!({
        "serialNumber": "x",
        "info": { "maker": "y" },
        "thermostat1": { "__t": "c", "maxTemperature": 30 },
        "thermostat2": { "__t": "c", "maxTemperature": 31 },
    });
    TwinDocument::default()
        .with_change(UpdateMode::Merge, &TwinChange::desired(object(desired)), now, &limits)
        .and_then(|twin| twin.with_reported(&object(reported), None, now, &limits))
        .unwrap()
}

fn change(patch: &Value) -> Result<TwinChange, HubError> {
    desired_change(&twin(), &DigitalTwinPatch::parse(patch.to_string().as_bytes()).unwrap())
}

/// Returns the merge patch of desired properties.
fn merge_patch(patch: Value) -> Value {
    let change = change(&patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
    change.desired_change().unwrap().properties().unwrap().clone().into()
}

#[test]
fn a_property_is_set_replaced_and_removed() {
    for (patch, expected) in [
        (
            json!([{ "op": "add", "path": "/new", "value": [1, { "a": true }] }]),
            json!({ "new": [1, { "a": true }] }),
        ),
        (json!([{ "op": "add", "path": "/interval", "value": 5 }]), json!({ "interval": 5 })),
        (json!([{ "op": "replace", "path": "/interval", "value": 6 }]), json!({ "interval": 6 })),
        // It has a reported value only.
        (json!([{ "op": "replace", "path": "/serialNumber", "value": "z" }]), json!({ "serialNumber": "z" })),
        (json!([{ "op": "remove", "path": "/interval" }]), json!({ "interval": null })),
        (
            json!([{ "op": "replace", "path": "/config", "value": { "mode": { "b": 3 } } }]),
            json!({ "config": { "rate": null, "mode": { "a": null, "b": 3 } } }),
        ),
        (
            json!([{ "op": "add", "path": "/config/mode/c", "value": 3 }]),
            json!({ "config": { "mode": { "c": 3 } } }),
        ),
        (
            json!([{ "op": "remove", "path": "/config/mode/a" }]),
            json!({ "config": { "mode": { "a": null } } }),
        ),
        (json!([{ "op": "add", "path": "/a~1b", "value": 1 }]), json!({ "a/b": 1 })),
    ] {
        assert_eq!(merge_patch(patch.clone()), expected, "{patch}");
    }
}

#[test]
fn a_component_is_marked_in_every_change() {
    for (patch, expected) in [
        (
            json!([{ "op": "add", "path": "/thermostat1/targetTemperature", "value": 21 }]),
            json!({ "thermostat1": { "__t": "c", "targetTemperature": 21 } }),
        ),
        (
            json!([{ "op": "replace", "path": "/thermostat1/limits/low", "value": 2 }]),
            json!({ "thermostat1": { "__t": "c", "limits": { "low": 2 } } }),
        ),
        (
            json!([{ "op": "remove", "path": "/thermostat1/targetTemperature" }]),
            json!({ "thermostat1": { "__t": "c", "targetTemperature": null } }),
        ),
        // Only the device has reported it.
        (
            json!([{ "op": "add", "path": "/thermostat2/targetTemperature", "value": 22 }]),
            json!({ "thermostat2": { "__t": "c", "targetTemperature": 22 } }),
        ),
        (
            json!([{ "op": "replace", "path": "/thermostat2/maxTemperature", "value": 22 }]),
            json!({ "thermostat2": { "__t": "c", "maxTemperature": 22 } }),
        ),
        (
            json!([{ "op": "add", "path": "/thermostat3", "value": { "$metadata": {}, "targetTemperature": 23 } }]),
            json!({ "thermostat3": { "__t": "c", "targetTemperature": 23 } }),
        ),
        (
            json!([{ "op": "replace", "path": "/thermostat1", "value": { "$metadata": {}, "x": 1 } }]),
            json!({ "thermostat1": { "__t": "c", "x": 1, "targetTemperature": null, "limits": null } }),
        ),
        (json!([{ "op": "remove", "path": "/thermostat1" }]), json!({ "thermostat1": null })),
    ] {
        assert_eq!(merge_patch(patch.clone()), expected, "{patch}");
    }
}

#[test]
fn operations_apply_one_after_the_other() {
    for (patch, expected) in [
        (
            json!([
                { "op": "add", "path": "/thermostat3", "value": { "$metadata": {} } },
                { "op": "add", "path": "/thermostat3/targetTemperature", "value": 23 },
                { "op": "add", "path": "/thermostat3/x", "value": {} },
                { "op": "add", "path": "/thermostat3/x/y", "value": 1 },
            ]),
            json!({ "thermostat3": { "__t": "c", "targetTemperature": 23, "x": { "y": 1 } } }),
        ),
        (
            json!([
                { "op": "add", "path": "/config/rate", "value": 7 },
                { "op": "remove", "path": "/config" },
                { "op": "add", "path": "/config", "value": { "rate": 8 } },
            ]),
            json!({ "config": { "rate": 8, "mode": null } }),
        ),
        (
            json!([
                { "op": "remove", "path": "/thermostat1/targetTemperature" },
                { "op": "add", "path": "/thermostat2/targetTemperature", "value": 22 },
            ]),
            json!({
                "thermostat1": { "__t": "c", "targetTemperature": null },
                "thermostat2": { "__t": "c", "targetTemperature": 22 },
            }),
        ),
        (
            json!([{ "op": "add", "path": "/new", "value": 1 }, { "op": "remove", "path": "/new" }]),
            json!({ "new": null }),
        ),
    ] {
        assert_eq!(merge_patch(patch.clone()), expected, "{patch}");
    }
    assert_eq!(change(&json!([])).unwrap(), TwinChange::default());
}

#[test]
fn what_a_digital_twin_does_not_allow_is_refused_with_the_place() {
    let (path, value) = (ErrorCode::InvalidDigitalTwinPatchPath, ErrorCode::InvalidDigitalTwinPatch);
    for (operation, code, message) in [
        (json!({ "op": "replace", "path": "/none", "value": 1 }), path, "no value to replace; use add"),
        (json!({ "op": "replace", "path": "/thermostat1/none", "value": 1 }), path, "no value to replace"),
        (json!({ "op": "replace", "path": "/info/maker", "value": 1 }), path, "no value to replace"),
        (json!({ "op": "remove", "path": "/none" }), path, "no desired value to remove"),
        (json!({ "op": "remove", "path": "/serialNumber" }), path, "no desired value to remove"),
        (json!({ "op": "remove", "path": "/thermostat2" }), path, "no desired value to remove"),
        (
            json!({ "op": "remove", "path": "/thermostat2/maxTemperature" }),
            path,
            "no desired value to remove",
        ),
        (
            json!({ "op": "add", "path": "/none/x", "value": 1 }),
            path,
            "there is no component \"none\"; add it first",
        ),
        (
            json!({ "op": "add", "path": "/serialNumber/x", "value": 1 }),
            path,
            "no object with a desired value",
        ),
        (json!({ "op": "add", "path": "/interval/x", "value": 1 }), path, "no object with a desired value"),
        (json!({ "op": "add", "path": "/none/x/y", "value": 1 }), path, "no object with a desired value"),
        (
            json!({ "op": "add", "path": "/thermostat2/x/y", "value": 1 }),
            path,
            "no object with a desired value",
        ),
        (json!({ "op": "add", "path": "/$metadata", "value": {} }), path, "\"$metadata\" cannot be changed"),
        (json!({ "op": "add", "path": "/$dtId", "value": "x" }), path, "cannot be changed"),
        (json!({ "op": "add", "path": "/$metadata/$model", "value": "x" }), path, "cannot be changed"),
        (json!({ "op": "add", "path": "/thermostat1/$metadata/x", "value": 1 }), path, "cannot be changed"),
        (json!({ "op": "remove", "path": "/thermostat1/__t" }), path, "\"__t\" cannot be changed"),
        (json!({ "op": "add", "path": "/", "value": 1 }), path, "a name in the path is empty"),
        (json!({ "op": "add", "path": "/a", "value": null }), value, "null; use remove"),
        (json!({ "op": "add", "path": "/a", "value": { "b": { "c": null } } }), value, "null; use remove"),
        (json!({ "op": "add", "path": "/a", "value": { "__t": "c" } }), value, "\"__t\" cannot be set"),
        (
            json!({ "op": "add", "path": "/a", "value": { "b": { "$metadata": {} } } }),
            value,
            "only the value of a component",
        ),
        (json!({ "op": "add", "path": "/thermostat1", "value": 1 }), value, "must be an object"),
        (json!({ "op": "add", "path": "/thermostat1", "value": { "x": 1 } }), value, "must have the member"),
        (
            json!({ "op": "add", "path": "/new", "value": { "$metadata": { "x": 1 } } }),
            value,
            "\"$metadata\": {}",
        ),
        (
            json!({ "op": "add", "path": "/new", "value": { "$metadata": {}, "__t": "c" } }),
            value,
            "cannot be set",
        ),
        (
            json!({ "op": "add", "path": "/interval", "value": { "$metadata": {} } }),
            value,
            "is a property and no component",
        ),
        (
            json!({ "op": "add", "path": "/thermostat1/x", "value": { "$metadata": {} } }),
            value,
            "only the value of a component",
        ),
    ] {
        let good = json!({ "op": "add", "path": "/good", "value": 1 });
        let error = change(&json!([good, operation])).unwrap_err();
        assert_eq!(error.code, code, "{operation}: {error}");
        assert!(error.message.starts_with("Operation 2 of the patch, on \"/"), "{error}");
        assert!(error.message.contains(message), "{operation}: {error}");
    }
}

/// Operations on few names, most of which can be applied.
fn operation() -> impl Strategy<Value = Value> {
    let name = || {
        prop::sample::select(vec!["interval", "config", "thermostat1", "thermostat2", "rate", "mode", "x"])
    };
    let value = prop_oneof![
        (0..3).prop_map(Value::from),
        Just(json!({})),
        Just(json!({ "rate": 3, "x": { "y": 1 } })),
        Just(json!({ "$metadata": {}, "x": 4 })),
    ];
    let op = prop::sample::select(vec!["add", "replace", "remove"]);
    (op, prop::collection::vec(name(), 1..4), value).prop_map(
        |(op, path, value)| json!({ "op": op, "path": format!("/{}", path.join("/")), "value": value }),
    )
}

proptest! {
    /// The merge patch has the result of the operations, as a patch of the stored document has.
    #[test]
    fn the_merge_patch_has_the_result_of_the_operations(
        operations in prop::collection::vec(operation(), 1..8),
    ) {
        let (mut twin, limits, now) = (twin(), TwinLimits::default(), Timestamp::from_unix_seconds(0));
        let mut accepted = Vec::new();
        let before = twin.clone();
        // One after the other, each with a merge patch of its own.
        for operation in operations {
            let patch = DigitalTwinPatch::parse(json!([operation]).to_string().as_bytes()).unwrap();
            if let Ok(change) = desired_change(&twin, &patch) {
                twin = twin.with_change(UpdateMode::Merge, &change, now, &limits).unwrap();
                accepted.push(operation);
            }
        }
        // All at once.
        let patch = DigitalTwinPatch::parse(Value::from(accepted).to_string().as_bytes()).unwrap();
        let change = desired_change(&before, &patch).unwrap();
        let at_once = before.with_change(UpdateMode::Merge, &change, now, &limits).unwrap();
        prop_assert_eq!(at_once.desired.values, twin.desired.values);
    }
}
