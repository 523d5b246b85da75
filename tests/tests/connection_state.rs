//! Connection state, its update time and the last activity time of identities: correct after crashes and restarts, and
//! never going backwards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Identity, Service, eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// The connection state and times of one identity.
#[derive(Debug, Clone, PartialEq)]
struct State {
    state: String,
    since: String,
    activity: String,
}

fn state_in(document: &Value) -> State {
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    State {
        state: text("connectionState"),
        since: text("connectionStateUpdatedTime"),
        activity: text("lastActivityTime"),
    }
}

#[track_caller]
fn device(service: &Service) -> State {
    let one = service.call("get_device", &json!({ "device_id": "dev1" })).unwrap();
    state_in(&one)
}

#[track_caller]
fn module(service: &Service) -> State {
    state_in(&service.call("get_module", &json!({ "device_id": "dev1", "module_id": "m1" })).unwrap())
}

/// Checks that lists and twins contain the same values, as long as nothing changes.
#[track_caller]
fn check_everywhere(service: &Service) {
    let devices = service.call("get_devices", &json!({})).unwrap();
    assert_eq!(state_in(&devices[0]), device(service));
    let modules = service.call("get_modules", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(state_in(&modules[0]), module(service));
    for (ids, seen) in [
        (json!({ "device_id": "dev1" }), device(service)),
        (json!({ "device_id": "dev1", "module_id": "m1" }), module(service)),
    ] {
        let twin = state_in(&service.call("get_twin", &ids).unwrap());
        assert_eq!((twin.state, twin.activity), (seen.state, seen.activity));
    }
}

/// Waits for the state, and checks that no time is earlier than in `before`.
#[track_caller]
fn wait_for(before: &State, state: &str, read: impl Fn() -> State) -> State {
    let seen = eventually("the state changes", SOON, || Some(read()).filter(|seen| seen.state == state));
    assert!(seen.since > before.since, "{seen:?} after {before:?}");
    assert!(seen.activity >= before.activity, "{seen:?} after {before:?}");
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
        (never.state.as_str(), &never.since, &never.activity[..5]),
        ("Disconnected", &never.activity, "0001-")
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
    assert!(taken_over.since > connected.since && taken_over.activity > connected.activity);

    second.twin().unwrap();
    let after_read = device(&service);
    assert!(
        after_read.activity > taken_over.activity && after_read.since == taken_over.since,
        "{after_read:?} after {taken_over:?}"
    );

    second.disconnect();
    let disconnected = wait_for(&after_read, "Disconnected", || device(&service));
    check_everywhere(&service);

    let third = start(&hub, &of_device);
    let back = wait_for(&disconnected, "Connected", || device(&service));
    let disable = json!({
        "device_id": "dev1", "etag": null, "primary_key": of_device.primary_key,
        "secondary_key": of_device.secondary_key, "status": "disabled",
    });
    let disabled = service.call("update_device_with_sas", &disable).unwrap();
    assert!(disabled["statusUpdatedTime"].as_str().unwrap() > back.since.as_str());
    third.wait_until_connected(false, SOON);
    wait_for(&back, "Disconnected", || device(&service));
    eventually("the module is disconnected as well", SOON, || {
        (module(&service).state == "Disconnected").then_some(())
    });
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
    assert!(
        !hub.log().contains("the hub was not stopped cleanly"),
        "all devices were disconnected on shutdown"
    );
}

#[test]
fn after_a_crash_of_the_hub_no_device_is_connected() {
    let mut hub = Hub::builder().config("[limits]\nactivity_flush_interval_seconds = 1").start();
    let service = Service::owner(&hub);
    let of_device = service.create_device("dev1");
    let of_module = service.create_module("dev1", "m1");
    let (device1, module1) = (start(&hub, &of_device), start(&hub, &of_module));
    let before = (device(&service), module(&service));
    assert_eq!((before.0.state.as_str(), before.1.state.as_str()), ("Connected", "Connected"));
    // A crash may lose activity within the last interval; this activity is older.
    std::thread::sleep(Duration::from_millis(2500));
    hub.kill();
    device1.kill();
    module1.kill();
    hub.start_again();
    wait_for(&before.0, "Disconnected", || device(&service));
    wait_for(&before.1, "Disconnected", || module(&service));
    check_everywhere(&service);
    assert!(
        hub.log().contains("the hub was not stopped cleanly") && hub.log().contains("identities=2"),
        "{}",
        hub.log()
    );
    let disconnected = device(&service);
    let again = start(&hub, &of_device);
    wait_for(&disconnected, "Connected", || device(&service));
    again.shutdown();
}
