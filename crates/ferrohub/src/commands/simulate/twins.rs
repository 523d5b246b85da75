//! Twin of a simulated device: it reports its desired properties.

use std::sync::Arc;

use ferrohub_device::{DesiredUpdate, DesiredUpdateStream, DeviceClient};
use serde_json::{Map, Value};

use super::Fleet;

/// Reports each change of the desired properties back, until the stream ends.
pub(super) async fn report_desired(
    client: DeviceClient,
    mut updates: DesiredUpdateStream,
    fleet: Arc<Fleet>,
) {
    let mut desired = Map::new();
    let mut reported = Map::new();
    while let Some(update) = updates.next().await {
        update.apply_to(&mut desired);
        let patch = merge_patch(&reported, &desired);
        if patch.is_empty() {
            continue;
        }
        match client.patch_reported(&patch).await {
            Ok(version) => {
                reported.clone_from(&desired);
                if fleet.log_calls {
                    let event = match update {
                        DesiredUpdate::Full(_) => "desired properties",
                        _ => "desired properties changed:",
                    };
                    let patch = Value::from(patch);
                    fleet.print(&format!(
                        "{}: {event} {patch} → reported as version {version}",
                        client.device_id()
                    ));
                }
            }
            // The next change reports the difference.
            Err(error) => fleet.print(&format!(
                "{}: cannot report properties, retrying with the next change: {error}",
                client.device_id()
            )),
        }
    }
}

/// Returns the JSON merge patch that turns `old` into `new`.
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
    fn a_merge_patch_contains_only_the_changes() {
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
