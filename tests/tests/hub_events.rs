//! Hub events in the event log: twin changes, creation and deletion of identities, and connections.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Client, Device, Event, Events, Hub, Message, Service};
use serde_json::{Value, json};

const ALL: &str =
    "[events]\nsources = [\"twinChangeEvents\", \"deviceLifecycleEvents\", \"deviceConnectionStateEvents\"]";

#[track_caller]
fn assert_hub_event(event: &Event, hub: &Hub, device: &str, source: &str, schema: &str, operation: &str) {
    assert_eq!((event.device(), event.source()), (device, source));
    assert_eq!(event.property("opType"), operation);
    assert_eq!(event.property("iothub-message-schema"), schema);
    assert_eq!((event.property("hubName"), event.property("deviceId")), (hub.name(), device));
    assert!(event.property("operationTimestamp").ends_with('Z'));
    assert_eq!(event.system("content-type"), "application/json");
    assert_eq!(event.system("content-encoding"), "utf-8");
    assert_eq!(event.system("user-id"), hub.name());
    assert!(!event.system("correlation-id").is_empty());
    assert_eq!(event.system("iothub-connection-auth-method"), "");
}

#[test]
fn the_log_contains_only_telemetry_by_default() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.send(&[Message::text("x")]).unwrap();
    device.report(&json!({ "a": 1 })).unwrap();
    device.shutdown();
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(
        Events::new(&hub, &service).all().iter().map(Event::source).collect::<Vec<_>>(),
        ["Telemetry"]
    );
}

#[test]
fn twin_changes_of_service_and_device_are_recorded() {
    let hub = Hub::builder().config("[events]\nsources = [\"TwinChangeEvents\"]").start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let identity = service.create_device("dev1");
    let _ = service.create_module("dev1", "mod1");
    let change = |change: Value| service.call("change_twin", &change);
    let desired = json!({ "rate": 5, "gone": null });
    change(json!({ "device_id": "dev1", "tags": { "hall": 7 }, "desired": desired })).unwrap();
    // The event is in the log when the change is acknowledged.
    let recorded = events.all();
    assert_eq!(recorded.len(), 1);
    assert_hub_event(&recorded[0], &hub, "dev1", "twinChangeEvents", "twinChangeNotification", "updateTwin");
    let body = recorded[0].json();
    assert_eq!((&body["version"], &body["tags"]), (&json!(3), &json!({ "hall": 7 })));
    let desired = &body["properties"]["desired"];
    assert_eq!(
        (&desired["rate"], &desired["gone"], &desired["$version"]),
        (&json!(5), &Value::Null, &json!(2))
    );
    assert!(desired["$metadata"]["rate"]["$lastUpdated"].is_string());

    for client in [Client::Sync, Client::Async] {
        let device = Device::with_identity(&identity).client(client).start(&hub);
        device.report(&json!({ "firmware": "1.2" })).unwrap();
        device.shutdown();
    }
    change(json!({ "device_id": "dev1", "replace": true, "desired": { "only": true } })).unwrap();
    change(json!({ "device_id": "dev1", "module_id": "mod1", "tags": { "a": 1 } })).unwrap();
    let recorded = events.all();
    assert_eq!(recorded.len(), 5);
    for (event, version) in [(&recorded[1], 4), (&recorded[2], 5)] {
        assert_hub_event(event, &hub, "dev1", "twinChangeEvents", "twinChangeNotification", "updateTwin");
        let body = event.json();
        let reported = &body["properties"]["reported"];
        assert_eq!((&reported["firmware"], &body["version"]), (&json!("1.2"), &json!(version)));
        assert!(reported["$metadata"]["firmware"]["$lastUpdated"].is_string());
        assert_eq!(body["tags"], Value::Null);
    }
    assert_hub_event(&recorded[3], &hub, "dev1", "twinChangeEvents", "twinChangeNotification", "replaceTwin");
    let whole = recorded[3].json();
    assert_eq!((&whole["deviceId"], &whole["tags"]["hall"]), (&json!("dev1"), &json!(7)));
    assert_eq!(whole["properties"]["desired"]["only"], true);
    assert_eq!(whole["properties"]["reported"]["firmware"], "1.2");
    assert_eq!(
        (recorded[4].property("moduleId"), recorded[4].system("iothub-connection-module-id")),
        ("mod1", "mod1")
    );
    // A refused change is not recorded.
    assert!(change(json!({ "device_id": "dev1", "tags": { "a.b": 1 } })).is_err());
    assert_eq!(events.all().len(), 5);
}

#[test]
fn creation_and_deletion_of_identities_are_recorded() {
    let hub = Hub::builder().config("[events]\nsources = [\"deviceLifecycleEvents\"]").start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let identity = service.create_device("dev1");
    let module = service.create_module("dev1", "mod1");
    assert!(service.call("create_device_with_sas", &json!({ "device_id": "dev1" })).is_err());
    service.call("delete_module", &json!({ "device_id": "dev1", "module_id": "mod1" })).unwrap();
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    let recorded = events.all();
    let (source, schema) = ("deviceLifecycleEvents", "deviceLifecycleNotification");
    for (event, operation, module_id, identity) in [
        (&recorded[0], "createDeviceIdentity", "", &identity),
        (&recorded[1], "createDeviceIdentity", "mod1", &module),
        (&recorded[2], "deleteDeviceIdentity", "mod1", &module),
        (&recorded[3], "deleteDeviceIdentity", "", &identity),
    ] {
        assert_hub_event(event, &hub, "dev1", source, schema, operation);
        assert_eq!(event.property("moduleId"), module_id);
        assert_eq!(event.system("iothub-connection-auth-generation-id"), identity.document["generationId"]);
        let twin = event.json();
        assert_eq!(
            (&twin["deviceId"], &twin["properties"]["desired"]["$version"]),
            (&json!("dev1"), &json!(1))
        );
    }
    assert_eq!(recorded.len(), 4);
}

#[test]
fn connection_events_are_recorded_with_increasing_sequence_numbers() {
    let mut hub = Hub::builder().config(ALL).start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let of_connections = |event: &Event| event.source() == "deviceConnectionStateEvents";
    {
        let events = Events::new(&hub, &service);
        let device = Device::with_identity(&identity).start(&hub);
        device.connect().unwrap();
        device.send(&[Message::text("between")]).unwrap();
        device.disconnect();
        let _ = events.wait_for(2, of_connections);
        device.connect().unwrap();
        let _ = events.wait_for(3, of_connections);
        // A newer connection takes over.
        let newer = Device::with_identity(&identity).option("connection_retry", false).start(&hub);
        device.kill();
        newer.connect().unwrap();
        let _ = events.wait_for(5, of_connections);
    }
    // The shutdown disconnects the devices, and records it before the hub exits.
    hub.stop();
    hub.start_again();
    let events = Events::new(&hub, &service);
    let device = Device::with_identity(&identity).start(&hub);
    device.connect().unwrap();
    let recorded = events.wait_for(7, of_connections);
    let operations: Vec<&str> = recorded.iter().map(|event| event.property("opType")).collect();
    let (on, off) = ("deviceConnected", "deviceDisconnected");
    assert_eq!(operations, [on, off, on, off, on, off, on]);
    let numbers: Vec<String> =
        recorded.iter().map(|event| event.json()["sequenceNumber"].as_str().unwrap().to_owned()).collect();
    assert!(numbers.iter().all(|number| number.len() == 64), "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    for event in &recorded {
        let (source, schema) = ("deviceConnectionStateEvents", "deviceConnectionStateNotification");
        assert_hub_event(event, &hub, "dev1", source, schema, event.property("opType"));
    }
}
