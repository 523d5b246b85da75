//! Who is connected, since when, and when the hub last heard of whom: right whatever happens, and never running backwards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Identity, Service, eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// What all readers say of one identity, and that they say the same.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    state: String,
    since: String,
    heard: String,
}

fn seen_in(document: &Value) -> Seen {
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    Seen {
        state: text("connectionState"),
        since: text("connectionStateUpdatedTime"),
        heard: text("lastActivityTime"),
    }
}

#[track_caller]
fn device(service: &Service) -> Seen {
    let one = service.call("get_device", &json!({ "device_id": "dev1" })).unwrap();
    seen_in(&one)
}

#[track_caller]
fn module(service: &Service) -> Seen {
    seen_in(&service.call("get_module", &json!({ "device_id": "dev1", "module_id": "m1" })).unwrap())
}

/// The same in lists and in twins, as long as nothing changes.
#[track_caller]
fn check_everywhere(service: &Service) {
    let devices = service.call("get_devices", &json!({})).unwrap();
    assert_eq!(seen_in(&devices[0]), device(service));
    let modules = service.call("get_modules", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(seen_in(&modules[0]), module(service));
    for (ids, seen) in [
        (json!({ "device_id": "dev1" }), device(service)),
        (json!({ "device_id": "dev1", "module_id": "m1" }), module(service)),
    ] {
        let twin = seen_in(&service.call("get_twin", &ids).unwrap());
        assert_eq!((twin.state, twin.heard), (seen.state, seen.heard));
    }
}

/// Waits for the state; no time has run backwards since `before`.
#[track_caller]
fn wait_for(before: &Seen, state: &str, look: impl Fn() -> Seen) -> Seen {
    let seen = eventually("the state changes", SOON, || Some(look()).filter(|seen| seen.state == state));
    assert!(seen.since > before.since, "{seen:?} after {before:?}");
    assert!(seen.heard >= before.heard, "{seen:?} after {before:?}");
    seen
}

fn start(hub: &Hub, identity: &Identity) -> Device {
    let device = Device::with_identity(identity).option("connection_retry", false).start(hub);
    device.connect().unwrap();
    device
}

#[test]
fn states_and_times_follow_connects_and_disconnects() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let of_device = service.create_device("dev1");
    let of_module = service.create_module("dev1", "m1");
    let never = device(&service);
    assert_eq!(
        (never.state.as_str(), &never.since, &never.heard[..5]),
        ("Disconnected", &never.heard, "0001-")
    );
    check_everywhere(&service);

    let first = start(&hub, &of_device);
    let _module = start(&hub, &of_module);
    let connected = wait_for(&never, "Connected", || device(&service));
    wait_for(&never, "Connected", || module(&service));
    check_everywhere(&service);

    let second = start(&hub, &of_device);
    first.wait_until_connected(false, SOON);
    let taken_over = device(&service);
    assert_eq!(taken_over.state, "Connected");
    assert!(taken_over.since > connected.since && taken_over.heard > connected.heard);

    second.twin().unwrap();
    let heard = device(&service);
    assert!(
        heard.heard > taken_over.heard && heard.since == taken_over.since,
        "{heard:?} after {taken_over:?}"
    );

    second.disconnect();
    let gone = wait_for(&heard, "Disconnected", || device(&service));
    check_everywhere(&service);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(device(&service), gone, "also once it is on disk");
    check_everywhere(&service);

    let third = start(&hub, &of_device);
    let back = wait_for(&gone, "Connected", || device(&service));
    let disable = json!({
        "device_id": "dev1", "etag": null, "primary_key": of_device.primary_key,
        "secondary_key": of_device.secondary_key, "status": "disabled",
    });
    let disabled = service.call("update_device_with_sas", &disable).unwrap();
    assert!(disabled["statusUpdatedTime"].as_str().unwrap() > back.since.as_str());
    third.wait_until_connected(false, SOON);
    wait_for(&back, "Disconnected", || device(&service));
    eventually("the module goes with it", SOON, || (module(&service).state == "Disconnected").then_some(()));
    let twin = service.call("get_twin", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(twin["statusUpdateTime"], disabled["statusUpdatedTime"]);
}

#[test]
fn a_restart_keeps_the_times() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let of_device = service.create_device("dev1");
    let _ = service.create_module("dev1", "m1");
    let device1 = start(&hub, &of_device);
    let before = device(&service);
    hub.stop();
    device1.wait_until_connected(false, SOON);
    hub.start_again();
    let after = wait_for(&before, "Disconnected", || device(&service));
    assert_eq!(device(&service), after);
    assert!(!hub.log().contains("the hub ended while"), "it said goodbye to all");
}

#[test]
fn a_device_that_was_connected_when_the_hub_died_is_so_no_more() {
    let mut hub = Hub::builder().config("[limits]\nactivity_flush_interval_seconds = 1").start();
    let service = Service::owner(&hub);
    let of_device = service.create_device("dev1");
    let of_module = service.create_module("dev1", "m1");
    let (device1, module1) = (start(&hub, &of_device), start(&hub, &of_module));
    std::thread::sleep(Duration::from_secs(2));
    device1.twin().unwrap();
    module1.twin().unwrap();
    let before = (device(&service), module(&service));
    assert_eq!((before.0.state.as_str(), before.1.state.as_str()), ("Connected", "Connected"));
    // What was heard within the interval may be forgotten; this was not.
    std::thread::sleep(Duration::from_secs(3));
    hub.kill();
    device1.kill();
    module1.kill();
    hub.start_again();
    wait_for(&before.0, "Disconnected", || device(&service));
    wait_for(&before.1, "Disconnected", || module(&service));
    check_everywhere(&service);
    assert!(hub.log().contains("identities=2"), "{}", hub.log());
    let gone = device(&service);
    let again = start(&hub, &of_device);
    wait_for(&gone, "Connected", || device(&service));
    again.shutdown();
}
