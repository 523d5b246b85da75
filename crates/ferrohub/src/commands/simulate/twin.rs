//! A simulated device's twin: it reports what it is told.

use std::sync::Arc;

use ferrohub_device::{DesiredUpdate, DesiredUpdateStream, DeviceClient};
use serde_json::{Map, Value};

use super::Fleet;

/// Reports each change of the desired properties back. Ends with the stream.
pub(super) async fn report_desired(
    client: DeviceClient,
    mut updates: DesiredUpdateStream,
    fleet: Arc<Fleet>,
) {
    let mut wanted = Map::new();
    let mut reported = Map::new();
    while let Some(update) = updates.next().await {
        update.apply_to(&mut wanted);
        let patch = merge_patch(&reported, &wanted);
        if patch.is_empty() {
            continue;
        }
        match client.patch_reported(&patch).await {
            Ok(version) => {
                reported.clone_from(&wanted);
                if fleet.log_calls {
                    let what = match update {
                        DesiredUpdate::Full(_) => "wanted",
                        _ => "a change of what is wanted",
                    };
                    let patch = Value::from(patch);
                    fleet.print(&format!(
                        "{}: {what} {patch} → reported, version {version}",
                        client.device_id()
                    ));
                }
            }
            // What is missing goes out with the next.
            Err(error) => fleet.print(&format!("{} cannot report: {error}", client.device_id())),
        }
    }
}

/// The merge patch that makes `new` of `old`.
fn merge_patch(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        let change = match (old.get(name), value) {
            (Some(before), value) if before == value => continue,
            (Some(Value::Object(before)), Value::Object(value)) => merge_patch(before, value).into(),
            (_, value) => value.clone(),
        };
        patch.insert(name.clone(), change);
    }
    patch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_has_what_changed_and_nothing_else() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let old =
            object(json!({ "same": 1, "gone": 1, "deep": { "same": [1], "gone": {}, "new": 1 }, "kind": 1 }));
        let new =
            object(json!({ "same": 1, "deep": { "same": [1], "new": 2 }, "kind": { "a": 1 }, "more": "x" }));
        assert_eq!(
            Value::from(merge_patch(&old, &new)),
            json!({ "gone": null, "deep": { "gone": null, "new": 2 }, "kind": { "a": 1 }, "more": "x" })
        );
        assert!(merge_patch(&new, &new).is_empty());
    }
}
