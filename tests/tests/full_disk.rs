//! A full disk: the hub names it, is not ready, loses nothing, and continues when there is room again.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use ferrohub_acceptance::{CommandOutput, HttpResponse, Hub, Service, SmallDisk, eventually, program, sas};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

/// Starts a hub whose data folder is on a small disk.
fn start(disk: &SmallDisk) -> Hub {
    let builder = Hub::builder();
    symlink(disk.path(), builder.folder().join("data")).unwrap();
    builder.start()
}

fn request(hub: &Hub, service: &Service, verb: &str, id: &str) -> HttpResponse {
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let body = (verb == "PUT").then(|| json!({ "deviceId": id }).to_string());
    service.http(verb, &format!("/devices/{id}?api-version=2021-04-12"), Some(&token), body.as_deref())
}

#[test]
fn a_full_disk_is_named_and_the_hub_continues_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(8192) else { return };
    let hub = start(&disk);
    let service = Service::owner(&hub);
    let device = service.create_device("dev1");
    let send = || {
        let headers = json!({ "Authorization": device.token() });
        let path = "/devices/dev1/messages/events?api-version=2020-03-13";
        service.http_with("POST", path, headers, Some(&"x".repeat(60_000)))
    };
    assert_eq!(send().status, 204);

    disk.fill();
    let mut created = Vec::new();
    let refused = eventually("a refused write", LIMIT, || {
        let id = format!("d{}", created.len());
        let response = request(&hub, &service, "PUT", &id);
        if response.status == 200 {
            created.push(id);
            return None;
        }
        Some(response)
    });
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("A disk of the hub is full"), "{}", refused.body);
    let refused = eventually("refused telemetry", LIMIT, || Some(send()).filter(|sent| sent.status != 204));
    assert_eq!(refused.status, 503, "{}", refused.body);
    let problems = eventually("not ready", LIMIT, || hub.readiness().err());
    let expected = format!("{}/data/hub.db: the disk is full; free space", hub.folder().display());
    assert!(problems.contains(&expected), "{problems}");
    assert!(problems.contains("data/events.db: the disk is full"), "{problems}");
    assert!(hub.metric("ferrohub_store_failures_total", "disk_full") > 0.0);
    assert!(hub.metric("ferrohub_event_log_failures_total", "disk_full") > 0.0);
    assert!(hub.log().contains(&expected), "{}", hub.log());
    // What is stored can still be read.
    for id in &created {
        assert_eq!(request(&hub, &service, "GET", id).status, 200);
    }

    disk.free();
    eventually("ready again", LIMIT, || hub.readiness().ok());
    assert_eq!(request(&hub, &service, "PUT", "after").status, 200);
    assert_eq!(send().status, 204);
}

#[test]
fn a_start_on_a_full_disk_names_it() {
    let Some(disk) = SmallDisk::mount(4096) else { return };
    disk.fill();
    let mut command = program();
    command.args([
        "serve",
        "--listen-mqtt",
        "127.0.0.1:0",
        "--listen-amqp",
        "127.0.0.1:0",
        "--listen-https",
        "127.0.0.1:0",
    ]);
    command.args(["--listen-admin", "127.0.0.1:0", "--data-dir"]).arg(disk.path()).stdin(Stdio::null());
    let output = CommandOutput::run(&mut command);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("free space on"), "{}", output.stderr);
    assert!(output.stderr.contains(&*disk.path().to_string_lossy()), "{}", output.stderr);
}
