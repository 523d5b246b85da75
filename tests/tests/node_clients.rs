//! Microsoft's Node SDKs, unmodified, against the hub.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Hub, NodeClient};
use serde_json::{Value, json};

/// Registers a device with the Node service SDK. Returns its connection string.
#[track_caller]
fn create_device(hub: &Hub, service: &NodeClient, device_id: &str) -> String {
    let device = service.ok("create_device", &json!({ "device": { "deviceId": device_id } }));
    let key = device["authentication"]["symmetricKey"]["primaryKey"].as_str().expect("a key");
    format!("HostName={};DeviceId={device_id};SharedAccessKey={key}", hub.name())
}

fn method_twins_and_telemetry(transport: &str) {
    let hub = Hub::start();
    let service = NodeClient::service(&hub);
    let device = NodeClient::device(&hub, &create_device(&hub, &service, "node-1"), transport);
    device.ok("connect", &Value::Null);

    let answer = json!({ "name": "rebootDevice", "status": 200, "payload": { "done": true } });
    device.ok("answer_method", &answer);
    let call = json!({ "device_id": "node-1", "method": {
        "methodName": "rebootDevice", "payload": { "in": 1 }, "responseTimeoutInSeconds": 20,
        "connectTimeoutInSeconds": 10,
    } });
    assert_eq!(service.ok("invoke", &call), json!({ "status": 200, "payload": { "done": true } }));
    assert_eq!(device.event("method", |_| true)["payload"], json!({ "in": 1 }));

    device.ok("get_twin", &Value::Null);
    service.ok(
        "patch_twin",
        &json!({ "device_id": "node-1", "patch": { "properties": { "desired": { "rate": 5 } } } }),
    );
    let _ = device.event("desired", |event| event["delta"]["rate"] == 5);
    device.ok("patch_reported", &json!({ "patch": { "rate": 5 } }));
    let twin = service.ok("get_twin", &json!({ "device_id": "node-1" }));
    assert_eq!(twin["properties"]["reported"]["rate"], 5);

    device.ok("send_event", &json!({ "body": "{\"t\":1}", "properties": { "level": "a&b=c d" } }));
    device.ok("disconnect", &Value::Null);
}

#[test]
fn a_node_device_works_over_mqtt() {
    method_twins_and_telemetry("mqtt");
}

#[test]
fn a_node_device_works_over_a_websocket() {
    method_twins_and_telemetry("mqtt_ws");
}

#[test]
fn a_node_device_uploads_a_file() {
    let hub = Hub::start();
    let service = NodeClient::service(&hub);
    let device = NodeClient::device(&hub, &create_device(&hub, &service, "node-1"), "mqtt");
    device.ok("connect", &Value::Null);
    device.ok("upload_file", &json!({ "blob_name": "folder/f 1.txt", "text": "from Node" }));
    let file = hub.command(["files", "list", "--output", "json"]).success();
    assert!(file.contains("node-1/folder/f 1.txt"), "{file}");
}

/// Plug-and-play clients register `component*command`.
#[test]
fn a_node_device_is_called_by_names_of_components_and_commands() {
    let hub = Hub::start();
    let service = NodeClient::service(&hub);
    let device = NodeClient::device(&hub, &create_device(&hub, &service, "node-1"), "mqtt");
    device.ok("connect", &Value::Null);
    for name in ["thermostat1*getMaxMinReport", "m:1;x=(y)@[z]~!$&,"] {
        device.ok("answer_method", &json!({ "name": name, "status": 200, "payload": name }));
        let method = json!({ "methodName": name, "payload": null, "connectTimeoutInSeconds": 10 });
        let answer = service.ok("invoke", &json!({ "device_id": "node-1", "method": method }));
        assert_eq!(answer, json!({ "status": 200, "payload": name }));
        assert_eq!(device.event("method", |_| true)["name"], name);
    }
}

#[test]
fn a_node_device_receives_null_for_each_property_of_a_cleared_section() {
    let hub = Hub::start();
    let service = NodeClient::service(&hub);
    let device = NodeClient::device(&hub, &create_device(&hub, &service, "node-1"), "mqtt");
    device.ok("connect", &Value::Null);
    device.ok("get_twin", &Value::Null);
    let patch = |desired: Value| {
        let patch = json!({ "tags": null, "properties": { "desired": desired } });
        service.ok("patch_twin", &json!({ "device_id": "node-1", "patch": patch }))
    };
    patch(json!({ "rate": 5, "mode": { "fast": true } }));
    let _ = device.event("desired", |event| event["delta"]["rate"] == 5);
    let twin = patch(Value::Null);
    assert_eq!(twin["properties"]["desired"].get("rate"), None, "{twin}");
    let delta =
        device.event("desired", |event| event["delta"].get("rate") == Some(&Value::Null))["delta"].clone();
    assert_eq!(delta.get("mode"), Some(&Value::Null), "{delta}");
}
