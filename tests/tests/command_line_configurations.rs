//! The commands `ferrohub configuration` and `ferrohub deployment`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use ferrohub_acceptance::{CommandOutput, Hub, eventually, program};
use serde_json::{Value, json};

fn json_of(output: CommandOutput) -> Value {
    serde_json::from_str(&output.success()).expect("JSON")
}

#[test]
fn configurations_are_managed() {
    let hub = Hub::start();
    hub.command(["device", "create", "d1"]).success();
    let content = r#"{"deviceContent":{"properties.desired.heating":{"celsius":21}}}"#;
    let created = json_of(hub.command([
        "configuration",
        "create",
        "comfort",
        "--target-condition",
        "deviceId = 'd1'",
        "--priority",
        "10",
        "--label",
        "team=a",
        "--metric",
        "all=SELECT deviceId FROM devices",
        "--content",
        content,
        "--output",
        "json",
    ]));
    assert_eq!((&created["priority"], &created["labels"]["team"]), (&json!(10), &json!("a")));
    eventually("the twin is changed", Duration::from_secs(20), || {
        let twin = json_of(hub.command(["twin", "show", "d1", "--output", "json"]));
        (twin["properties"]["desired"]["heating"]["celsius"] == 21).then_some(())
    });
    let metrics = hub.command(["configuration", "metrics", "comfort"]).success();
    let rows: Vec<Vec<&str>> =
        metrics.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert!(rows.contains(&vec!["appliedCount", "1"]) && rows.contains(&vec!["all", "1"]), "{metrics}");

    let etag = created["etag"].as_str().unwrap();
    let update = |etag: &str| {
        let arguments = ["configuration", "update", "comfort", "--target-condition", "", "--etag", etag];
        hub.command(arguments)
    };
    let shown = update(etag).success();
    assert!(shown.contains("celsius"), "{shown}");
    let late = update(etag);
    assert!(late.code == 1 && late.stderr.contains("412"), "{late:?}");
    let shown = json_of(hub.command(["configuration", "show", "comfort", "--output", "json"]));
    assert_eq!((&shown["targetCondition"], &shown["labels"]["team"]), (&json!(""), &json!("a")));
    let listed = hub.command(["configuration", "list"]).success();
    assert!(listed.lines().nth(1).unwrap().trim_start().starts_with("comfort"), "{listed}");
    assert!(!hub.command(["deployment", "list"]).success().contains("comfort"));
    hub.command(["configuration", "delete", "comfort"]).success();
    let missing = hub.command(["configuration", "show", "comfort"]);
    assert!(missing.code == 1 && missing.stderr.contains("404"), "{missing:?}");
}

#[test]
fn deployments_are_managed_and_the_modules_of_a_device_are_set() {
    let hub = Hub::start();
    hub.command(["device", "create", "gate", "--edge"]).success();
    let file = hub.folder().join("deployment.json");
    let agent = json!({ "properties.desired": { "modules": { "m": { "type": "docker" } } } });
    fs::write(&file, json!({ "content": { "modulesContent": { "$edgeAgent": agent } } }).to_string())
        .unwrap();
    let file = file.to_str().unwrap();
    hub.command(["deployment", "create", "base", "--file", file, "--target-condition", "*"]).success();
    let modules = || {
        let twin = json_of(hub.command(["twin", "show", "gate/$edgeAgent", "--output", "json"]));
        twin["properties"]["desired"]["modules"].clone()
    };
    eventually("the deployment is applied", Duration::from_secs(20), || modules().get("m").cloned());
    assert!(hub.command(["deployment", "list"]).success().contains("base"));
    assert!(!hub.command(["configuration", "list"]).success().contains("base"));
    hub.command(["deployment", "update", "base", "--priority", "5"]).success();
    let metrics = hub.command(["deployment", "metrics", "base"]).success();
    assert!(metrics.contains("reportedSuccessfulCount"), "{metrics}");
    hub.command(["deployment", "delete", "base"]).success();
    let content = r#"{"modulesContent":{"m":{"properties.desired":{"interval":5}}}}"#;
    hub.command(["deployment", "set-modules", "gate", "--content", content]).success();
    let twin = json_of(hub.command(["twin", "show", "gate/m", "--output", "json"]));
    assert_eq!(twin["properties"]["desired"]["interval"], 5);
}

#[test]
fn wrong_content_is_refused_before_it_is_sent() {
    let hub = Hub::start();
    let modules = r#"{"modulesContent":{"m":{"properties.desired":{}}}}"#;
    let devices = r#"{"deviceContent":{"properties.desired.a":1}}"#;
    for (arguments, expected) in [
        (&["configuration", "create", "c", "--content", modules][..], "use `ferrohub deployment`"),
        (&["deployment", "create", "c", "--content", devices], "use `ferrohub configuration`"),
        (&["deployment", "set-modules", "d", "--content", "{"], "is not JSON"),
        (&["configuration", "create", "c", "--file", "/nowhere"], "cannot read /nowhere"),
        (&["configuration", "update", "c"], "nothing to change"),
    ] {
        let refused = hub.command(arguments.iter().copied());
        assert!(refused.code == 1 && refused.stderr.contains(expected), "{arguments:?}: {refused:?}");
    }
}

#[test]
fn the_commands_of_the_document_can_be_pasted_as_they_stand() {
    let hub = Hub::start();
    hub.command(["device", "create", "d1"]).success();
    let page = include_str!("../../docs/configurations.md");
    let block: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(block.len() > 4, "{block:?}");
    let script =
        format!("ferrohub() {{ \"$PROGRAM\" --config \"$CONFIG\" \"$@\"; }}\n{}\n", block.join("\n"));
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", &script])
        .env("CONFIG", hub.folder().join("hub.toml"))
        .env("PROGRAM", program().get_program());
    let printed = CommandOutput::run(&mut shell).success();
    assert!(printed.contains("appliedCount") && printed.contains("tags.building IN [7, 8]"), "{printed}");
    assert!(!hub.command(["configuration", "list"]).success().contains("comfort"));
}
