use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> Properties {
    serde_json::from_value(value).unwrap()
}

fn change(value: Value) -> TwinChange {
    serde_json::from_value(value).unwrap()
}

fn update(twin: &TwinDocument, mode: UpdateMode, value: Value) -> Result<TwinDocument, HubError> {
    twin.with_change(mode, &change(value), Timestamp::from_unix_seconds(0), &TwinLimits::default())
}

#[test]
fn a_new_twin_has_azures_etag_and_versions() {
    let twin = TwinDocument::default();
    assert_eq!((twin.etag().as_str(), twin.version()), ("AAAAAAAAAAE=", 2));
    assert_eq!((twin.desired.version, twin.reported.version), (1, 1));
}

#[test]
fn each_change_increments_the_matching_versions() {
    let twin = TwinDocument::default();
    let tagged = update(&twin, UpdateMode::Merge, json!({ "tags": { "a": 1 } })).unwrap();
    assert_eq!((tagged.etag().as_str(), tagged.version(), tagged.desired.version), ("AAAAAAAAAAI=", 3, 1));
    let both = json!({ "tags": { "a": null }, "properties": { "desired": { "b": 1 } } });
    let both = update(&tagged, UpdateMode::Merge, both).unwrap();
    assert_eq!((both.version(), both.desired.version, both.tags.len()), (4, 2, 0));
    let now = Timestamp::from_unix_seconds(0);
    let limits = TwinLimits::default();
    let reported = both.with_reported(&object(json!({ "c": 1 })), Some(1), now, &limits).unwrap();
    assert_eq!((reported.version(), reported.reported.version, reported.etag()), (5, 2, both.etag()));
    let stale = reported.with_reported(&object(json!({ "c": 2 })), Some(1), now, &limits).unwrap_err();
    assert_eq!(stale.code, ErrorCode::PreconditionFailed);
}

#[test]
fn a_replacement_only_replaces_the_sections_in_it() {
    let twin = TwinDocument::default();
    let both = json!({ "tags": { "a": 1 }, "properties": { "desired": { "b": { "c": 1 } } } });
    let twin = update(&twin, UpdateMode::Merge, both).unwrap();
    let desired = json!({ "properties": { "desired": { "d": 1, "$version": 2, "$metadata": {} } } });
    let twin = update(&twin, UpdateMode::Replace, desired.clone()).unwrap();
    assert_eq!(Value::from(twin.desired.values.clone()), json!({ "d": 1 }));
    assert_eq!(Value::from(twin.tags.clone()), json!({ "a": 1 }));
    let notice = twin.desired_notice(UpdateMode::Replace, &change(desired)).unwrap();
    assert_eq!(Value::from(notice), json!({ "d": 1, "$version": 3 }));
}

#[test]
fn a_device_receives_a_change_with_its_nulls() {
    let desired = json!({ "properties": { "desired": { "a": null, "b": { "c": null } } } });
    let twin = update(&TwinDocument::default(), UpdateMode::Merge, desired.clone()).unwrap();
    let notice = twin.desired_notice(UpdateMode::Merge, &change(desired)).unwrap();
    assert_eq!(Value::from(notice), json!({ "a": null, "b": { "c": null }, "$version": 2 }));
    assert_eq!(twin.desired_notice(UpdateMode::Merge, &change(json!({ "tags": {} }))), None);
}

#[test]
fn null_for_a_section_removes_all_of_it_and_the_device_receives_a_null_for_each_property() {
    let both = json!({ "tags": { "t": 1 }, "properties": { "desired": { "a": { "b": 1 }, "c": 2 } } });
    let full = update(&TwinDocument::default(), UpdateMode::Merge, both).unwrap();
    let clear = change(json!({ "tags": null, "properties": { "desired": null } }));
    for mode in [UpdateMode::Merge, UpdateMode::Replace] {
        let now = Timestamp::from_unix_seconds(0);
        let empty = full.with_change(mode, &clear, now, &TwinLimits::default()).unwrap();
        assert_eq!((empty.tags.len(), empty.desired.values.len()), (0, 0));
        assert_eq!((empty.updates, empty.desired.version), (full.updates + 1, 3));
        assert_ne!(empty.etag(), full.etag());
        let notice = empty.desired_notice(mode, &full.expanded(&clear)).unwrap();
        let expected = match mode {
            UpdateMode::Merge => json!({ "a": null, "c": null, "$version": 3 }),
            UpdateMode::Replace => json!({ "$version": 3 }),
        };
        assert_eq!(Value::from(notice), expected);
    }
    let empty =
        update(&full, UpdateMode::Merge, json!({ "tags": null, "properties": { "desired": null } })).unwrap();
    let event = Value::from(empty.change_event_body(&full.expanded(&clear)));
    assert_eq!((&event["tags"], &event["version"]), (&json!({ "t": null }), &json!(4)));
    let section = &event["properties"]["desired"];
    assert_eq!((&section["a"], &section["c"], &section["$version"]), (&Value::Null, &Value::Null, &json!(3)));
    assert_eq!(section.as_object().unwrap().len(), 4);

    let again = update(&empty, UpdateMode::Merge, json!({ "properties": { "desired": null } })).unwrap();
    assert_eq!((again.updates, again.desired.version), (4, 4), "an empty section also gets a new version");
    let notice = again.desired_notice(UpdateMode::Merge, &empty.expanded(&clear)).unwrap();
    assert_eq!(Value::from(notice), json!({ "$version": 4 }));
    let unrelated = change(json!({ "properties": {} }));
    assert_eq!(*full.expanded(&unrelated), unrelated);
}

#[test]
fn twin_change_events_have_the_change_and_its_metadata() {
    let first =
        json!({ "tags": { "t": 1 }, "properties": { "desired": { "a": { "b": 1, "c": 2 }, "d": 1 } } });
    let twin = update(&TwinDocument::default(), UpdateMode::Merge, first).unwrap();
    let second =
        json!({ "tags": { "t": null }, "properties": { "desired": { "a": { "b": 3 }, "d": null } } });
    let twin = update(&twin, UpdateMode::Merge, second.clone()).unwrap();
    let time = "1970-01-01T00:00:00.0000000Z";
    let stamp = json!({ "$lastUpdated": time, "$lastUpdatedVersion": 3 });
    let mut a = stamp.clone();
    a["b"] = stamp.clone();
    let mut metadata = stamp;
    metadata["a"] = a;
    assert_eq!(
        Value::from(twin.change_event_body(&change(second))),
        json!({
            "version": 4,
            "tags": { "t": null },
            "properties": { "desired": {
                "a": { "b": 3 }, "d": null, "$metadata": metadata, "$version": 3,
            } },
        })
    );
    let limits = TwinLimits::default();
    let patch = object(json!({ "r": [1] }));
    let twin = twin.with_reported(&patch, None, Timestamp::from_unix_seconds(0), &limits).unwrap();
    let stamp = json!({ "$lastUpdated": time });
    assert_eq!(
        Value::from(twin.reported_event_body(&patch)),
        json!({
            "version": 5,
            "properties": { "reported": {
                "r": [1], "$metadata": { "$lastUpdated": time, "r": stamp }, "$version": 2,
            } },
        })
    );
}

#[test]
fn a_change_with_one_invalid_member_is_refused() {
    let twin = TwinDocument::default();
    for invalid in [
        json!({ "tags": { "a": 1 }, "properties": { "desired": { "b.c": 1 } } }),
        json!({ "tags": { "a": vec!["x".repeat(4096); 3] } }),
        json!({ "tags": { "a": [1, null] } }),
        json!({ "properties": { "desired": { "a": i64::MAX } } }),
        json!({ "properties": { "desired": { "a": vec!["x".repeat(4096); 9] } } }),
    ] {
        assert_eq!(update(&twin, UpdateMode::Merge, invalid).unwrap_err().code, ErrorCode::ArgumentInvalid);
    }
}
