//! The number of registered and of connected devices, with Microsoft's service client.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Service, eventually, sas};
use serde_json::{Value, json};

#[track_caller]
fn registered(service: &Service) -> Value {
    service.call("get_device_registry_statistics", &json!({})).unwrap()
}

fn counts(total: u64, enabled: u64, disabled: u64) -> Value {
    json!({ "totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": disabled })
}

#[track_caller]
fn wait_for_connected(service: &Service, count: u64) {
    eventually("the number of connected devices", Duration::from_secs(30), || {
        let now = service.call("get_service_statistics", &json!({})).unwrap();
        (now == json!({ "connectedDeviceCount": count })).then_some(())
    });
}

#[test]
fn devices_are_counted_and_modules_are_not() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    assert_eq!(registered(&service), counts(0, 0, 0));
    let dev1 = service.create_device("dev1");
    let _ = service.create_module("dev1", "m1");
    let _ = service.create_device("dev2");
    let disabled = json!({ "device_id": "dev3", "status": "disabled" });
    service.call("create_device_with_sas", &disabled).unwrap();
    assert_eq!(registered(&service), counts(3, 2, 1));
    let disable = json!({
        "device_id": "dev1", "etag": null, "primary_key": dev1.primary_key,
        "secondary_key": dev1.secondary_key, "status": "disabled",
    });
    service.call("update_device_with_sas", &disable).unwrap();
    service.call("update_device_with_sas", &disable).unwrap();
    service.call("delete_device", &json!({ "device_id": "dev2" })).unwrap();
    assert_eq!(registered(&service), counts(2, 0, 2));
    hub.kill();
    hub.start_again();
    assert_eq!(registered(&service), counts(2, 0, 2));
}

#[test]
fn the_count_of_connected_devices_follows_connects_and_disconnects() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let (of_dev1, of_dev2) = (service.create_device("dev1"), service.create_device("dev2"));
    let of_module = service.create_module("dev1", "m1");
    wait_for_connected(&service, 0);
    let dev1 = Device::with_identity(&of_dev1).start(&hub);
    dev1.connect().unwrap();
    let module = Device::with_identity(&of_module).start(&hub);
    module.connect().unwrap();
    wait_for_connected(&service, 1);
    let dev2 = Device::with_identity(&of_dev2).option("connection_retry", false).start(&hub);
    dev2.connect().unwrap();
    wait_for_connected(&service, 2);
    let newer = Device::with_identity(&of_dev2).option("connection_retry", false).start(&hub);
    newer.connect().unwrap();
    dev2.wait_until_connected(false, Duration::from_secs(30));
    wait_for_connected(&service, 2);
    newer.kill();
    wait_for_connected(&service, 1);
    dev1.disconnect();
    wait_for_connected(&service, 0);
    module.shutdown();
    hub.restart();
    wait_for_connected(&service, 0);
}

#[test]
fn statistics_require_the_right_of_the_policy() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let get = |policy: &str, path: &str| {
        let login = hub.command(["policy", "show", policy, "--output", "json"]).success();
        let key = serde_json::from_str::<Value>(&login).unwrap()["primaryKey"].as_str().unwrap().to_owned();
        let login = format!("HostName={};SharedAccessKeyName={policy};SharedAccessKey={key}", hub.name());
        let path = format!("{path}?api-version=2021-04-12");
        service.http("GET", &path, Some(&sas::policy_token(&login)), None).status
    };
    for (policy, devices, connected) in [
        ("iothubowner", 200, 200),
        ("registryRead", 200, 200),
        ("registryReadWrite", 200, 200),
        ("service", 401, 200),
        ("device", 401, 401),
    ] {
        assert_eq!(get(policy, "/statistics/devices"), devices, "{policy}");
        assert_eq!(get(policy, "/statistics/service"), connected, "{policy}");
    }
    assert_eq!(service.http("GET", "/statistics/devices", None, None).status, 401);
}

#[test]
fn the_command_line_prints_statistics() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let printed = hub.command(["device", "stats", "--output", "json"]).success();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let mut expected = counts(1, 1, 0);
    expected["connectedDeviceCount"] = 0.into();
    assert_eq!(printed, expected);
    assert!(hub.command(["device", "stats"]).success().contains("Connected"));
}
