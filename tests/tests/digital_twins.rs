//! Digital twins of IoT Plug and Play, as Microsoft's packages and the Azure CLI use them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, NodeClient, Service, eventually, sas};
use ferrohub_service::{DigitalTwinPatch, ErrorKind, MethodInvocation, ServiceClient};
use serde_json::{Value, json};

const MODEL: &str = "dtmi:com:example:TemperatureController;2";
const SOON: Duration = Duration::from_secs(20);
const PATH: &str = "/digitaltwins/d1?api-version=2021-04-12";

/// Starts a device of Microsoft's package that announces its model, has reported its state, and responds to commands.
fn device(hub: &Hub, service: &Service) -> Device {
    let identity = service.create_device("d1");
    let device = Device::with_identity(&identity).option("product_info", MODEL).start(hub);
    device.connect().unwrap();
    device.listen().unwrap();
    device
        .report(&json!({
            "serialNumber": "abc",
            "targetTemperature": { "value": 20, "ac": 200, "av": 1, "ad": "done" },
            "thermostat1": { "__t": "c", "maxTempSinceLastReboot": 38.5 },
        }))
        .unwrap();
    device
}

#[track_caller]
fn get(service: &Service) -> Value {
    service.call("get_digital_twin", &json!({ "device_id": "d1" })).unwrap()
}

fn update(service: &Service, patch: Value) {
    service.call("update_digital_twin", &json!({ "device_id": "d1", "patch": patch })).unwrap();
}

fn desired(service: &Service) -> Value {
    let twin = service.http("GET", "/twins/d1?api-version=2021-04-12", Some(service.authorization()), None);
    let mut desired = twin.json()["properties"]["desired"].as_object().unwrap().clone();
    desired.retain(|key, _| !key.starts_with('$'));
    desired.into()
}

#[test]
fn every_method_of_the_python_digital_twin_client_works() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = device(&hub, &service);
    device.watch_desired(true);

    let twin = get(&service);
    assert_eq!(
        (&twin["$dtId"], &twin["$metadata"]["$model"], &twin["serialNumber"]),
        (&json!("d1"), &json!(MODEL), &json!("abc"))
    );
    assert_eq!(twin["targetTemperature"], 20, "the value of an acknowledgement");
    assert_eq!(twin["thermostat1"]["maxTempSinceLastReboot"], 38.5);
    assert_eq!(twin["thermostat1"].get("__t"), None);
    assert!(twin["thermostat1"]["$metadata"].is_object(), "{twin}");

    update(&service, json!([{ "op": "add", "path": "/targetTemperature", "value": 42 }]));
    assert_eq!(device.next_desired()["targetTemperature"], 42);
    let metadata = get(&service)["$metadata"]["targetTemperature"].clone();
    assert_eq!((&metadata["desiredValue"], &metadata["desiredVersion"]), (&json!(42), &json!(2)));
    update(&service, json!([{ "op": "add", "path": "/thermostat1/targetTemperature", "value": 21 }]));
    assert_eq!(
        device.next_desired()["thermostat1"],
        json!({ "__t": "c", "targetTemperature": 21 }),
        "the marker of a component is added"
    );
    update(
        &service,
        json!([
            { "op": "replace", "path": "/targetTemperature", "value": 43 },
            { "op": "remove", "path": "/thermostat1/targetTemperature" },
        ]),
    );
    assert_eq!(device.next_desired()["targetTemperature"], 43);
    assert_eq!(desired(&service)["targetTemperature"], 43);
    assert_eq!(desired(&service)["thermostat1"].get("targetTemperature"), None);

    let invoke = |arguments: Value| service.call("invoke_command", &arguments).unwrap();
    let answer = invoke(json!({ "device_id": "d1", "command": "echo", "payload": { "delay": 1 } }));
    assert_eq!(answer, json!({ "delay": 1 }));
    let answer = invoke(json!({
        "device_id": "d1", "command": "echo", "payload": "now", "connect_timeout": 5, "response_timeout": 30,
    }));
    assert_eq!(answer, "now");
    let _ = (device.request_of("echo"), device.request_of("echo"));
    let answer = invoke(json!({
        "device_id": "d1", "component": "thermostat1", "command": "getMaxMinReport", "payload": "2026-01-01",
    }));
    assert_eq!(answer, json!({ "Response": "Unknown method" }), "the device's own answer");
    assert_eq!(device.request_of("thermostat1*getMaxMinReport").payload, "2026-01-01");
}

#[test]
fn every_method_of_the_node_digital_twin_client_works() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = device(&hub, &service);
    let node = NodeClient::service(&hub);
    let twin = node.ok("get_digital_twin", &json!({ "device_id": "d1" }));
    assert_eq!(twin["body"]["$metadata"]["$model"], MODEL, "{twin}");
    let etag = twin["etag"].as_str().unwrap();
    assert!(etag.starts_with('"'), "{twin}");
    let patch = json!([{ "op": "add", "path": "/targetTemperature", "value": 42 }]);
    let _ = node.ok("update_digital_twin", &json!({ "device_id": "d1", "patch": patch, "etag": etag }));
    assert_eq!(desired(&service)["targetTemperature"], 42);
    let stale = node.call("update_digital_twin", &json!({ "device_id": "d1", "patch": patch, "etag": etag }));
    assert!(stale.is_err(), "{stale:?}");

    let answer = node.ok(
        "invoke_command",
        &json!({
            "device_id": "d1", "command": "echo", "payload": { "delay": 1 },
            "options": { "connectTimeoutInSeconds": 5, "responseTimeoutInSeconds": 30 },
        }),
    );
    assert_eq!((&answer["xMsCommandStatuscode"], &answer["body"]), (&json!(200), &json!({ "delay": 1 })));
    let answer = node.ok(
        "invoke_command",
        &json!({ "device_id": "d1", "component": "thermostat1", "command": "reboot", "payload": 3 }),
    );
    assert_eq!(answer["xMsCommandStatuscode"], 404, "the status of the device");
    let _ = device.request_of("thermostat1*reboot");
}

#[test]
fn the_status_of_a_command_is_in_a_header() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = device(&hub, &service);
    let token = service.authorization();
    let path = "/digitaltwins/d1/commands/answer?api-version=2021-04-12";
    let answer = service.http("POST", path, Some(token), Some(r#"{"status":503,"payload":{"busy":true}}"#));
    assert_eq!((answer.status, answer.header("x-ms-command-statuscode")), (200, "503"));
    assert_eq!(answer.json(), json!({ "busy": true }));
    assert!(!answer.header("x-ms-request-id").is_empty());
}

#[test]
fn a_patch_applies_only_to_the_expected_version() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = device(&hub, &service);
    let token = service.authorization();
    let etag = service.http("GET", PATH, Some(token), None).header("etag").to_owned();
    let patch = r#"[{"op":"add","path":"/targetTemperature","value":1}]"#;
    let patch_if = |etag: &str| {
        let headers = json!({ "authorization": token, "if-match": etag, "content-type": "application/json" });
        service.http_with("PATCH", PATH, headers, Some(patch)).status
    };
    assert_eq!(patch_if(&etag), 202);
    assert_eq!(patch_if(&etag), 412, "another version");
    assert_eq!(patch_if("*"), 202);
}

#[test]
fn what_is_not_a_change_of_a_digital_twin_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = device(&hub, &service);
    let token = service.authorization();
    let before = desired(&service);
    let long = format!(r#"[{{"op":"add","path":"/a","value":"{}"}}]"#, "x".repeat(5000));
    for (body, code) in [
        ("{", "InvalidDigitalTwinJsonPatch"),
        ("7", "InvalidDigitalTwinJsonPatch"),
        (r#"[{"op":"move","from":"/a","path":"/b"}]"#, "InvalidDigitalTwinJsonPatch"),
        (r#"[{"op":"add","path":"a","value":1}]"#, "InvalidDigitalTwinJsonPatch"),
        (r#"[{"op":"add","path":"/$metadata","value":1}]"#, "InvalidDigitalTwinPatchPath"),
        (r#"[{"op":"remove","path":"/unknown"}]"#, "InvalidDigitalTwinPatchPath"),
        (r#"[{"op":"replace","path":"/unknown/b","value":1}]"#, "InvalidDigitalTwinPatchPath"),
        (r#"[{"op":"add","path":"/a.b","value":1}]"#, "ArgumentInvalid"),
        (long.as_str(), "ArgumentInvalid"),
    ] {
        let answer = service.http("PATCH", PATH, Some(token), Some(body));
        let short = &body[..body.len().min(80)];
        assert_eq!((answer.status, answer.error_code()), (400, code), "{short}: {answer:?}");
    }
    assert_eq!(desired(&service), before, "nothing of them was applied");

    for (path, status, code) in [
        ("/digitaltwins/unknown", 404, "DeviceNotFound"),
        ("/digitaltwins/unknown/commands/a", 404, "DeviceNotFound"),
        ("/digitaltwins/d1/commands/a%2Fb", 400, "ArgumentInvalid"),
        ("/digitaltwins/d1/commands/a%2Ab", 400, "ArgumentInvalid"),
        ("/digitaltwins/d1/components/a%2Ab/commands/c", 400, "ArgumentInvalid"),
    ] {
        let (verb, body) = if path.contains("commands") { ("POST", Some("{}")) } else { ("GET", None) };
        let answer = service.http(verb, &format!("{path}?api-version=2021-04-12"), Some(token), body);
        assert_eq!((answer.status, answer.error_code()), (status, code), "{path}: {answer:?}");
    }
    let _ = service.create_device("d2");
    let offline = "/digitaltwins/d2/commands/echo?api-version=2021-04-12";
    let answer = service.http("POST", offline, Some(token), Some("{}"));
    assert_eq!((answer.status, answer.error_code()), (404, "DeviceNotOnline"), "{answer:?}");
}

#[test]
fn a_patch_is_applied_as_a_whole_or_not_at_all() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = device(&hub, &service);
    device.watch_desired(true);
    let token = service.authorization();
    let patch = |operations: &[Value]| {
        let body = json!(operations).to_string();
        let answer = service.http("PATCH", PATH, Some(token), Some(&body));
        (answer.status, answer.error_code().to_owned())
    };
    let refused = |code: &str| (400, code.to_owned());
    let add = |path: &str, value: Value| json!({ "op": "add", "path": path, "value": value });
    let good = add("/targetTemperature", json!(1));
    let etag = || service.http("GET", PATH, Some(token), None).header("etag").to_owned();
    let before = (desired(&service), etag());
    for (bad, code) in [
        (json!({ "op": "remove", "path": "/unknown" }), "InvalidDigitalTwinPatchPath"),
        (json!({ "op": "test", "path": "/targetTemperature", "value": 1 }), "InvalidDigitalTwinJsonPatch"),
        (add("/a.b", json!(1)), "ArgumentInvalid"),
        (add("/text", json!("x".repeat(5000))), "ArgumentInvalid"),
    ] {
        assert_eq!(patch(&[good.clone(), bad.clone()]), refused(code), "{bad}");
    }
    assert_eq!(patch(&vec![good.clone(); 1001]), refused("InvalidDigitalTwinJsonPatch"));
    // More than 32 KiB of desired properties.
    let large: Vec<Value> = (0..9).map(|n| add(&format!("/text{n}"), json!("x".repeat(4000)))).collect();
    assert_eq!(patch(&large), refused("ArgumentInvalid"));
    assert_eq!((desired(&service), etag()), before);
    assert_eq!(patch(&large[..8]).0, 202);
    assert_eq!(device.next_desired()["text7"], "x".repeat(4000), "this is the first change");
    let full = desired(&service);
    assert_eq!(patch(&[good.clone(), large[8].clone()]), refused("ArgumentInvalid"));
    assert_eq!(desired(&service), full);
    assert_eq!(patch(&vec![good; 1000]).0, 202);
    assert_eq!(desired(&service)["targetTemperature"], 1);
}

#[test]
fn data_actions_are_those_of_twins_and_methods() {
    let hub = Hub::builder().with_development_issuer().start();
    let (service, entra) = (Service::owner(&hub), Service::with_entra(&hub));
    let _device = device(&hub, &service);
    let patch = r#"[{"op":"add","path":"/targetTemperature","value":1}]"#;
    for (role, expected) in [
        ("IoT Hub Data Contributor", [200, 202, 200, 404]),
        ("IoT Hub Data Reader", [200, 401, 401, 401]),
        ("IoT Hub Twin Contributor", [200, 202, 401, 401]),
        ("IoT Hub Registry Contributor", [401, 401, 401, 401]),
    ] {
        let token = entra.token_of_role(&hub, role);
        let statuses = [
            ("GET", "", None),
            ("PATCH", "", Some(patch)),
            ("POST", "/commands/echo", Some("1")),
            ("POST", "/components/c/commands/stop", Some("1")),
        ]
        .map(|(verb, below, body)| {
            let path = format!("/digitaltwins/d1{below}?api-version=2021-04-12");
            let answer = service.http(verb, &path, Some(&token), body);
            // The device knows no command of components.
            answer.header("x-ms-command-statuscode").parse().unwrap_or(answer.status)
        });
        assert_eq!(statuses, expected, "{role}");
    }
}

#[test]
fn rights_are_those_of_twins_and_methods() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = device(&hub, &service);
    let permitted = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    let registry = service.token_of_policy(&hub, "registryReadWrite");
    let patch = r#"[{"op":"add","path":"/targetTemperature","value":1}]"#;
    for (verb, path, body, expected) in [
        ("GET", PATH, None, 200),
        ("PATCH", PATH, Some(patch), 202),
        ("POST", "/digitaltwins/d1/commands/echo?api-version=2021-04-12", Some("1"), 200),
    ] {
        assert_eq!(service.http(verb, path, Some(&permitted), body).status, expected, "{verb}");
        assert_eq!(service.http(verb, path, None, body).status, 401, "{verb}");
        assert_eq!(service.http(verb, path, Some(&registry), body).status, 401, "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_reads_changes_and_calls() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = device(&hub, &service);
    let _ = service.create_device("offline");
    let client =
        ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
            .unwrap()
            .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
            .build()
            .unwrap();
    let twin = client.get_digital_twin("d1").await.unwrap();
    assert_eq!((twin.model_id(), &twin.document["serialNumber"]), (Some(MODEL), &json!("abc")));
    assert_eq!(client.get_digital_twin("offline").await.unwrap().model_id(), None);

    let patch = DigitalTwinPatch::new().add("/thermostat1/targetTemperature", 21.5).unwrap();
    let etag = client.update_digital_twin("d1", &patch, twin.etag.as_deref()).await.unwrap();
    assert_eq!(desired(&service)["thermostat1"], json!({ "__t": "c", "targetTemperature": 21.5 }));
    let changed = client.get_digital_twin("d1").await.unwrap();
    assert_eq!(changed.etag, etag);
    let metadata = &changed.document["thermostat1"]["$metadata"]["targetTemperature"];
    assert_eq!(metadata["desiredValue"], 21.5, "{metadata}");
    let stale = client.update_digital_twin("d1", &patch, twin.etag.as_deref()).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
    let unknown = DigitalTwinPatch::new().remove("/unknown").unwrap();
    let refused = client.update_digital_twin("d1", &unknown, None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BadRequest);

    let command = MethodInvocation::new("echo").payload(&json!([1])).unwrap();
    let answer = client.invoke_command("d1", None, &command).await.unwrap();
    assert_eq!((answer.status(), answer.payload_text()), (200, "[1]"));
    let command = MethodInvocation::new("stop");
    let answer = client.invoke_command("d1", Some("fan"), &command).await.unwrap();
    assert_eq!(answer.status(), 404, "the status of the device");
    let _ = device.request_of("fan*stop");
    for (id, kind) in [("unknown", ErrorKind::NotFound), ("offline", ErrorKind::DeviceNotOnline)] {
        assert_eq!(client.invoke_command(id, None, &command).await.unwrap_err().kind(), kind, "{id}");
    }
    assert_eq!(client.get_digital_twin("unknown").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_command_line_reads_files_and_has_exit_codes() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = device(&hub, &service);
    let _ = service.create_device("offline");
    let file = hub.folder().join("patch.json");
    let file = file.to_str().unwrap();
    fs::write(file, r#"[{"op":"add","path":"/targetTemperature","value":5}]"#).unwrap();
    let shown = hub.command(["digital-twin", "update", "d1", "--file", file]).success();
    assert!(shown.contains(MODEL) && shown.contains("serialNumber"), "{shown}");
    assert_eq!(desired(&service)["targetTemperature"], 5);

    let invoke = |arguments: &[&'static str]| {
        hub.command(["digital-twin", "invoke-command"].iter().chain(arguments).copied())
    };
    let failed = invoke(&["d1", "answer", "--payload", r#"{"status":503,"payload":{"busy":true}}"#]);
    assert_eq!(failed.code, 3, "the device answered with 400 or more: {failed:?}");
    assert!(failed.stdout.contains("busy"), "{failed:?}");
    assert_eq!(invoke(&["d1", "stop", "--component", "fan"]).code, 3);

    fs::write(file, "[{").unwrap();
    for (arguments, text) in [
        (vec!["digital-twin", "update", "d1", "--file", file], "is not a JSON Patch"),
        (vec!["digital-twin", "update", "d1", "--file", "none.json"], "none.json"),
        (vec!["digital-twin", "update", "d1", "--patch", r#"{"op":"add"}"#], "--patch is not a JSON Patch"),
        (
            vec!["digital-twin", "update", "d1", "--patch", r#"{"op":"remove","path":"/none"}"#],
            "ferrohub digital-twin show DEVICE",
        ),
        (
            vec![
                "digital-twin",
                "update",
                "d1",
                "--etag",
                "stale",
                "--patch",
                r#"{"op":"add","path":"/a","value":1}"#,
            ],
            "PreconditionFailed",
        ),
        (vec!["digital-twin", "show", "unknown"], "DeviceNotFound"),
        (vec!["digital-twin", "invoke-command", "offline", "echo"], "--connect-timeout"),
        (vec!["digital-twin", "invoke-command", "d1", "a*b"], "command"),
    ] {
        let failed = hub.command(arguments.iter().copied());
        assert_eq!((failed.code, failed.stdout.as_str()), (1, ""), "{arguments:?} {failed:?}");
        assert!(failed.stderr.contains(text), "{arguments:?} {failed:?}");
    }
}

#[test]
fn the_command_line_shows_changes_and_calls() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = device(&hub, &service);
    let shown = hub.command(["digital-twin", "show", "d1", "--output", "json"]).success();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["$metadata"]["$model"], MODEL);
    let patch = r#"{"op":"add","path":"/thermostat1/targetTemperature","value":21}"#;
    hub.command(["digital-twin", "update", "d1", "--patch", patch]).success();
    eventually("the change", SOON, || {
        (desired(&service)["thermostat1"]["targetTemperature"] == 21).then_some(())
    });
    let called =
        hub.command(["digital-twin", "invoke-command", "d1", "echo", "--payload", "\"hello\""]).success();
    assert!(called.contains("hello"), "{called}");
}
