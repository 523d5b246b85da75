//! `ferrohub send-event`, `upload` and `simulate`: commands that act as a device.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use ferrohub_acceptance::{CommandOutput, Events, Hub, RunningProgram, Service, eventually, program, sas};
use serde_json::{Value, json};

fn json_of(output: CommandOutput) -> Value {
    serde_json::from_str(&output.success()).expect("JSON")
}

#[test]
fn events_are_sent_as_a_device_or_module() {
    let hub = Hub::start();
    hub.command(["device", "create", "d"]).success();
    hub.command(["module", "create", "d", "m"]).success();
    let arguments = ["send-event", "d", "{\"t\":1}", "--property", "a=b=c", "--message-id", "x"];
    let sent = json_of(hub.command(arguments.into_iter().chain(["--output", "json"])));
    assert_eq!(sent["sent"], 1);
    let many =
        ["send-event", "d/m", "hot", "--count", "3", "--interval", "0", "--to-output", "o", "--websocket"];
    assert!(hub.command(many).success().contains('3'));
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service).wait_for(4, |event| event.device() == "d");
    let (of_device, of_module): (Vec<_>, Vec<_>) =
        events.iter().partition(|event| event.system("iothub-connection-module-id").is_empty());
    assert_eq!((of_device[0].property("a"), of_device[0].system("message-id")), ("b=c", "x"));
    assert_eq!(
        (of_device[0].json(), of_device[0].system("content-type")),
        (json!({ "t": 1 }), "application/json")
    );
    assert_eq!(of_module.len(), 3);
    assert_eq!((of_module[0].body(), of_module[0].system("content-type")), ("hot", "text/plain"));
    assert_eq!(of_module[0].system("iothub-outputname"), "o");

    let unknown = hub.command(["send-event", "nobody", "x"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("404001"), "{unknown:?}");
    assert_eq!(hub.command(["send-event", "d", "x", "--property", "a"]).code, 2);
}

#[test]
fn a_file_is_uploaded_as_a_device() {
    let hub = Hub::start();
    hub.command(["device", "create", "d"]).success();
    let file = hub.folder().join("a file.bin");
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| b'a' + (number % 23) as u8).collect();
    fs::write(&file, &content).unwrap();
    let path = file.to_str().unwrap();
    let uploaded = json_of(hub.command(["upload", "d", path, "--output", "json"]));
    assert_eq!((&uploaded["name"], &uploaded["bytes"]), (&json!("d/a file.bin"), &json!(3_000_000)));
    let service = Service::owner(&hub);
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let read = |name: &str| service.http("GET", &format!("/ferrohub/files/d/{name}"), Some(&token), None);
    assert!(read("a%20file.bin").body.as_bytes() == content);
    hub.command(["upload", "d", path, "--name", "logs/x"]).success();
    assert_eq!(read("logs/x").status, 200);
    let missing = hub.command(["upload", "d", "no such file"]);
    assert!(missing.code == 1 && missing.stderr.contains("no such file"), "{missing:?}");
}

#[test]
fn simulated_devices_send_telemetry_and_report_desired_properties() {
    let hub = Hub::start();
    let mut child = program();
    child.arg("--config").arg(hub.folder().join("hub.toml"));
    child.args(["simulate", "--count", "2", "--prefix", "s", "--telemetry-interval", "0.2"]);
    let running = RunningProgram(child.stderr(Stdio::null()).spawn().unwrap());
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    for id in ["s1", "s2"] {
        let sent = events.wait_for(2, |event| event.device() == id);
        let own: Vec<_> = sent.iter().filter(|event| event.device() == id).collect();
        assert_eq!((&own[0].json()["device"], &own[0].json()["count"]), (&json!(id), &json!(1)));
        assert!(own[1].json()["temperature"].is_number(), "{own:?}");
    }
    let reported = || {
        let twin = service.call("get_twin", &json!({ "device_id": "s2" })).unwrap();
        let mut reported = twin["properties"]["reported"].clone();
        reported.as_object_mut().unwrap().retain(|name, _| !name.starts_with('$'));
        reported
    };
    for (desired, expected) in [
        (
            json!({ "rate": 5, "mode": { "fast": true, "old": 1 } }),
            json!({ "rate": 5, "mode": { "fast": true, "old": 1 } }),
        ),
        (json!({ "rate": null, "mode": { "old": null } }), json!({ "mode": { "fast": true } })),
    ] {
        service.call("change_twin", &json!({ "device_id": "s2", "desired": desired })).unwrap();
        eventually("the device reports it", Duration::from_secs(20), || {
            (reported() == expected).then_some(())
        });
    }
    drop(running);

    let mut child = program();
    child.arg("--config").arg(hub.folder().join("hub.toml"));
    child.args(["simulate", "--device", "s2", "--no-twin", "--telemetry-interval", "0.2"]);
    let before = events.all().len();
    let running = RunningProgram(child.stderr(Stdio::null()).spawn().unwrap());
    service.call("change_twin", &json!({ "device_id": "s2", "desired": { "rate": 9 } })).unwrap();
    let _ = events.wait_for(before + 3, |event| event.device().starts_with('s'));
    assert_eq!(reported(), json!({ "mode": { "fast": true } }), "the device does not report properties");
    drop(running);
}
