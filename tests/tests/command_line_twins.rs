//! The commands `ferrohub module` and `ferrohub twin`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;

use ferrohub_acceptance::{CommandOutput, Hub};
use serde_json::{Value, json};

fn json_of(output: CommandOutput) -> Value {
    serde_json::from_str(&output.success()).expect("JSON")
}

#[test]
fn modules_are_managed() {
    let hub = Hub::start();
    hub.command(["device", "create", "d1"]).success();
    let created = json_of(hub.command(["module", "create", "d1", "m1", "--output", "json"]));
    assert_eq!((&created["deviceId"], &created["moduleId"]), (&json!("d1"), &json!("m1")));
    let key = created["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap();
    let connection = hub.command(["module", "connection-string", "d1", "m1"]).success();
    assert_eq!(
        connection.trim(),
        format!("HostName={};DeviceId=d1;ModuleId=m1;SharedAccessKey={key}", hub.name())
    );
    let thumbprint = "ab".repeat(20);
    hub.command([
        "module",
        "create",
        "d1",
        "m2",
        "--auth",
        "self-signed",
        "--primary-thumbprint",
        &thumbprint,
    ])
    .success();

    let updated = json_of(hub.command([
        "module",
        "update",
        "d1",
        "m1",
        "--regenerate-key",
        "primary",
        "--output",
        "json",
    ]));
    assert_ne!(updated["authentication"]["symmetricKey"]["primaryKey"].as_str(), Some(key));
    let listed = hub.command(["module", "list", "d1"]).success();
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, ["ID", "m1", "m2"]);
    assert!(hub.command(["module", "show", "d1", "m2"]).success().contains(&thumbprint.to_uppercase()));
    let keyless = hub.command(["module", "update", "d1", "m2", "--swap-keys"]);
    assert!(keyless.code == 1 && keyless.stderr.contains("does not authenticate with keys"), "{keyless:?}");

    hub.command(["module", "delete", "d1", "m1"]).success();
    let missing = hub.command(["module", "show", "d1", "m1"]);
    assert!(missing.code == 1 && missing.stderr.contains("404"), "{missing:?}");
}

#[test]
fn twins_are_read_and_changed() {
    let hub = Hub::start();
    hub.command(["device", "create", "d1"]).success();
    hub.command(["module", "create", "d1", "m1"]).success();
    let twin = |id: &str| json_of(hub.command(["twin", "show", id, "--output", "json"]));
    hub.command(["twin", "update", "d1", "--tags", "{\"hall\":7}", "--desired", "{\"rate\":5,\"mode\":1}"])
        .success();
    let etag = twin("d1")["etag"].as_str().unwrap().to_owned();
    let merged = json_of(hub.command([
        "twin",
        "update",
        "d1",
        "--desired",
        "{\"mode\":null}",
        "--etag",
        &etag,
        "--output",
        "json",
    ]));
    let desired = &merged["properties"]["desired"];
    assert_eq!((&desired["rate"], desired.get("mode"), &desired["$version"]), (&json!(5), None, &json!(3)));
    let late = hub.command(["twin", "update", "d1", "--tags", "{}", "--etag", &etag]);
    assert!(late.code == 1 && late.stderr.contains("412"), "{late:?}");

    // The printed twin can be edited in a file and sent back.
    let mut document = twin("d1");
    document["tags"] = json!({ "hall": 8 });
    document["properties"]["desired"]["rate"] = json!(6);
    let file = hub.folder().join("twin.json");
    fs::write(&file, document.to_string()).unwrap();
    let shown = hub.command(["twin", "replace", "d1", "--file", file.to_str().unwrap()]).success();
    assert!(shown.contains("\"hall\": 8") && shown.contains("\"rate\": 6"), "{shown}");

    hub.command(["twin", "update", "d1/m1", "--desired", "{\"of\":\"module\"}"]).success();
    assert_eq!(twin("d1/m1")["properties"]["desired"]["of"], "module");
    assert_eq!(twin("d1")["properties"]["desired"].get("of"), None);
}

#[test]
fn an_empty_or_invalid_change_is_refused_before_it_is_sent() {
    let hub = Hub::start();
    let file = hub.folder().join("twin.json");
    fs::write(&file, "{\"desired\":{}}").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, expected) in [
        (&["twin", "update", "d1"][..], "nothing to change"),
        (&["twin", "update", "d1", "--tags", "[1]"], "--tags is neither a JSON object nor null"),
        (&["twin", "replace", "d1", "--file", "/nowhere"], "cannot read /nowhere"),
        (&["twin", "replace", "d1", "--file", file], "neither"),
    ] {
        let refused = hub.command(arguments.iter().copied());
        assert!(refused.code == 1 && refused.stderr.contains(expected), "{arguments:?}: {refused:?}");
    }
}
