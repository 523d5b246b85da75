//! Edge devices and their children, with Microsoft's service client.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Identity, Service, sas};
use serde_json::{Value, json};

#[track_caller]
fn modules(service: &Service, device_id: &str) -> Vec<(String, String)> {
    let modules = service.call("get_modules", &json!({ "device_id": device_id })).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let modules = modules.as_array().unwrap().iter();
    modules.map(|module| (text(&module["moduleId"]), text(&module["managedBy"]))).collect()
}

/// Sends `PUT /devices/{id}` with any body and `If-Match: *`.
#[track_caller]
fn update(hub: &Hub, service: &Service, device_id: &str, body: &Value) -> Result<Value, (u16, String)> {
    let path = format!("/devices/{device_id}?api-version=2021-04-12");
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let headers = json!({ "Authorization": owner, "If-Match": "*" });
    let answer = service.http_with("PUT", &path, headers, Some(&body.to_string()));
    match answer.status {
        200 => Ok(answer.json()),
        status => Err((status, answer.error_code().to_owned())),
    }
}

fn invalid_scope<T>() -> Result<T, (u16, String)> {
    Err((400, "InvalidDeviceScope".to_owned()))
}

#[test]
fn an_edge_device_has_a_scope_and_two_system_modules_while_it_is_one() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let edge = service.call("create_edge_device", &json!({ "device_id": "edge-1" })).unwrap();
    let generation = edge["generationId"].as_str().unwrap();
    assert_eq!(edge["deviceScope"], format!("ms-azure-iot-edge://edge-1-{generation}"));
    let system: Vec<_> =
        ["$edgeAgent", "$edgeHub"].map(|name| (name.to_owned(), "IotEdge".to_owned())).into();
    assert_eq!(modules(&service, "edge-1"), system);

    let agent = json!({ "device_id": "edge-1", "module_id": "$edgeAgent" });
    let system_module = (401, "SystemModuleModifyUnauthorizedAccess".to_owned());
    assert_eq!(service.refusal("delete_module", &agent), system_module);
    assert_eq!(service.refusal("create_module_with_sas", &agent), system_module);
    let _ = service.create_device("plain");
    let agent_of_plain = json!({ "device_id": "plain", "module_id": "$edgeAgent" });
    assert_eq!(service.refusal("create_module_with_sas", &agent_of_plain), system_module);
    assert_eq!(service.refusal("delete_module", &agent_of_plain), (404, "ModuleNotFound".to_owned()));

    let agent = service.call("get_module", &agent).unwrap();
    let agent = Identity::from_document(hub.name(), agent);
    let agent = Device::with_identity(&agent).option("connection_retry", false).listen(&hub);
    let call =
        json!({ "device_id": "edge-1", "module_id": "$edgeAgent", "method_name": "echo", "payload": 1 });
    assert_eq!(service.call("invoke_module", &call).unwrap()["payload"], 1);

    let _ = service.create_module("edge-1", "mine");
    let off = update(&hub, &service, "edge-1", &json!({ "capabilities": { "iotEdge": false } })).unwrap();
    assert_eq!(off.get("deviceScope"), None, "{off}");
    agent.wait_until_connected(false, Duration::from_secs(30));
    assert_eq!(modules(&service, "edge-1"), [("mine".to_owned(), String::new())]);
    let on = update(&hub, &service, "edge-1", &json!({ "capabilities": { "iotEdge": true } })).unwrap();
    assert_eq!(on["deviceScope"], edge["deviceScope"]);
    assert_eq!(modules(&service, "edge-1").len(), 3);
    service.call("delete_device", &json!({ "device_id": "edge-1" })).unwrap();
    let again = service.call("create_edge_device", &json!({ "device_id": "edge-1" })).unwrap();
    assert_ne!(again["deviceScope"], edge["deviceScope"]);
    assert_eq!(modules(&service, "edge-1"), system);
}

#[test]
fn a_scope_must_be_that_of_an_existing_edge_device() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let edge = service.call("create_edge_device", &json!({ "device_id": "edge" })).unwrap();
    let scope = edge["deviceScope"].as_str().unwrap();
    let leaf =
        service.call("create_leaf_device", &json!({ "device_id": "leaf", "device_scope": scope })).unwrap();
    assert_eq!((&leaf["deviceScope"], &leaf["parentScopes"]), (&json!(scope), &json!([scope])));
    let other = format!("{scope}0");
    for wrong in ["edge", "ms-azure-iot-edge://nobody-1", &other] {
        let arguments = json!({ "device_id": "other", "device_scope": wrong });
        let expected = (400, "InvalidDeviceScope".to_owned());
        assert_eq!(service.refusal("create_leaf_device", &arguments), expected, "{wrong}");
        let arguments = json!({ "device_id": "other", "parent_scopes": [wrong] });
        assert_eq!(service.refusal("create_edge_device", &arguments), expected, "{wrong}");
        assert_eq!(update(&hub, &service, "leaf", &json!({ "deviceScope": wrong })), invalid_scope());
    }
    assert_eq!(
        update(&hub, &service, "edge", &json!({ "deviceScope": "ms-azure-iot-edge://x-1" })),
        invalid_scope()
    );

    let below = json!({ "device_id": "below", "parent_scopes": [scope] });
    let below = service.call("create_edge_device", &below).unwrap();
    assert_eq!(below["parentScopes"], json!([scope]));
    let cycle = json!({ "parentScopes": [below["deviceScope"]] });
    assert_eq!(update(&hub, &service, "edge", &cycle), invalid_scope(), "a cycle");
    let mut above = below["deviceScope"].clone();
    for level in 3..=5 {
        let id = format!("level{level}");
        let next = json!({ "device_id": id, "parent_scopes": [above] });
        above = service.call("create_edge_device", &next).unwrap()["deviceScope"].clone();
    }
    let sixth = json!({ "device_id": "level6", "parent_scopes": [above] });
    assert_eq!(service.refusal("create_edge_device", &sixth), (400, "InvalidDeviceScope".to_owned()));

    service.call("delete_device", &json!({ "device_id": "edge" })).unwrap();
    let kept = update(&hub, &service, "leaf", &json!({ "deviceScope": scope, "statusReason": "orphan" }));
    assert_eq!(kept.unwrap()["deviceScope"], scope, "a device without its parent can be updated");
    let free = update(&hub, &service, "leaf", &json!({ "deviceScope": "" })).unwrap();
    assert_eq!((free.get("deviceScope"), &free["parentScopes"]), (None, &json!([])));
}

#[test]
fn a_device_stays_connected_when_its_scope_changes_and_the_new_parent_may_call_it() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let edges =
        ["edge1", "edge2"].map(|id| service.call("create_edge_device", &json!({ "device_id": id })).unwrap());
    let tokens = ["edge1", "edge2"].map(|id| {
        let caller = service.create_module(id, "caller");
        let (key, expiry) = (&caller.primary_key, sas::now() + 60);
        sas::Token { resource: &caller.resource(), key, expiry, policy: None }.sign()
    });
    let identity = service.create_device("leaf");
    let leaf = Device::with_identity(&identity).listen(&hub);
    let call = |token: &str| {
        let path = "/twins/leaf/methods?api-version=2021-04-12";
        service.http("POST", path, Some(token), Some(r#"{"methodName":"echo","payload":1}"#)).status
    };
    assert_eq!(tokens.each_ref().map(|token| call(token)), [401, 401]);
    for (scope, expected) in [
        (&edges[0]["deviceScope"], [200, 401]),
        (&edges[1]["deviceScope"], [401, 200]),
        (&json!(""), [401, 401]),
    ] {
        update(&hub, &service, "leaf", &json!({ "deviceScope": scope })).unwrap();
        assert_eq!(tokens.each_ref().map(|token| call(token)), expected, "{scope}");
    }
    assert_eq!(leaf.connects(), 1);
}

#[test]
fn the_command_line_creates_edge_devices_and_their_children() {
    let hub = Hub::start();
    let json = |arguments: &[&str]| -> Value {
        let arguments = arguments.iter().copied().chain(["--output", "json"]);
        serde_json::from_str(&hub.command(arguments).success()).unwrap()
    };
    let edge = json(&["device", "create", "edge", "--edge"]);
    let leaf = json(&["device", "create", "leaf", "--parent", "edge"]);
    assert_eq!(leaf["deviceScope"], edge["deviceScope"]);
    let free = json(&["device", "update", "leaf", "--no-parent"]);
    assert_eq!(free.get("deviceScope"), None);
    let again = json(&["device", "update", "leaf", "--parent", "edge"]);
    assert_eq!(again["deviceScope"], edge["deviceScope"]);
    let refused = hub.command(["device", "create", "other", "--parent", "leaf"]);
    assert!(refused.code == 1 && refused.stderr.contains("leaf is not an edge device"), "{}", refused.stderr);
}
