//! Properties of twin documents: a sequence of changes gives the same document as their merged result.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use ferrohub_core::twins::{TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::Timestamp;
use ferrohub_model::twin::{Properties, TwinChange};
use proptest::prelude::*;
use serde_json::Value;

/// Only a few keys, so that patches overlap.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("é")].prop_map(str::to_owned)
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000i64..1000).prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
        prop::collection::vec(any::<u8>().prop_map(Value::from), 0..3).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map(key(), inner, 0..4)
            .prop_map(|object| Value::Object(object.into_iter().collect()))
    })
}

fn patch() -> impl Strategy<Value = Properties> {
    prop::collection::btree_map(key(), value(), 0..4).prop_map(|object| object.into_iter().collect())
}

/// JSON merge patch (RFC 7396): a second, independent implementation.
fn merged(target: Option<&Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let old = target.and_then(Value::as_object);
    let kept = old.into_iter().flatten().filter(|(key, _)| !patch.contains_key(*key));
    let changed = patch.iter().filter(|(_, change)| !change.is_null()).map(|(key, change)| {
        let before = old.and_then(|old| old.get(key));
        (key.clone(), merged(before, change))
    });
    Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).chain(changed).collect())
}

fn change(twin: &TwinDocument, mode: UpdateMode, desired: &Properties, seconds: i64) -> TwinDocument {
    let change = TwinChange::desired(desired.clone()).and_tags(desired.clone());
    let now = Timestamp::from_unix_seconds(seconds);
    twin.with_change(mode, &change, now, &TwinLimits::default()).unwrap()
}

/// Asserts that the metadata has the structure of the values. An array counts as one value.
fn assert_mirrors(metadata: &Value, values: &Value) {
    let metadata = metadata.as_object().unwrap();
    assert!(metadata.contains_key("$lastUpdated"));
    let described: Vec<&String> = metadata.keys().filter(|key| !key.starts_with('$')).collect();
    let present: Vec<&String> = values.as_object().map(|object| object.keys().collect()).unwrap_or_default();
    assert_eq!(described, present);
    for key in described {
        assert_mirrors(&metadata[key], &values[key]);
    }
}

proptest! {
    #[test]
    fn patches_equal_a_replacement_by_their_merged_result(patches in prop::collection::vec(patch(), 1..8)) {
        let mut twin = TwinDocument::default();
        let mut expected = Value::Object(Properties::new());
        for (seconds, patch) in (0..).zip(&patches) {
            twin = change(&twin, UpdateMode::Merge, patch, seconds);
            expected = merged(Some(&expected), &Value::Object(patch.clone()));
        }
        prop_assert_eq!(Value::Object(twin.desired.values.clone()), expected.clone());
        prop_assert_eq!(Value::Object(twin.tags.clone()), expected.clone());
        prop_assert_eq!(twin.desired.version, 1 + patches.len() as u64);
        assert_mirrors(&Value::Object(twin.desired.metadata.clone()), &expected);

        let other = change(&TwinDocument::default(), UpdateMode::Merge, &patches[0], 0);
        let replaced = change(&other, UpdateMode::Replace, expected.as_object().unwrap(), 99);
        prop_assert_eq!(Value::Object(replaced.desired.values), expected.clone());
        prop_assert_eq!(Value::Object(replaced.tags), expected);
    }

    #[test]
    fn reported_patches_add_up_to_their_merged_result(patches in prop::collection::vec(patch(), 1..8)) {
        let mut twin = TwinDocument::default();
        let mut expected = Value::Object(Properties::new());
        for (seconds, patch) in (0..).zip(&patches) {
            let version = Some(twin.reported.version);
            let now = Timestamp::from_unix_seconds(seconds);
            twin = twin.with_reported(patch, version, now, &TwinLimits::default()).unwrap();
            expected = merged(Some(&expected), &Value::Object(patch.clone()));
        }
        prop_assert_eq!(Value::Object(twin.reported.values.clone()), expected.clone());
        assert_mirrors(&Value::Object(twin.reported.metadata), &expected);
        prop_assert_eq!(twin.desired, TwinDocument::default().desired);
    }

    /// A device that reads its twin once and then applies each notice has the current desired properties.
    #[test]
    fn a_device_that_applies_its_notices_has_the_current_state(
        changes in prop::collection::vec((any::<bool>(), patch()), 1..8),
    ) {
        let mut twin = TwinDocument::default();
        let mut known = Value::Object(twin.desired.for_device());
        for (replace, patch) in &changes {
            let mode = if *replace { UpdateMode::Replace } else { UpdateMode::Merge };
            twin = change(&twin, mode, patch, 0);
            let notice = twin.desired_notice(mode, &TwinChange::desired(patch.clone())).unwrap();
            let notice = Value::Object(notice);
            known = if *replace { notice } else { merged(Some(&known), &notice) };
            prop_assert_eq!(&known, &Value::Object(twin.desired.for_device()));
        }
    }
}
