//! Cloud-to-device messages, received by Microsoft's clients over MQTT.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::{Duration, Instant};

use ferrohub_acceptance::{Client, Delivery, Device, Hub, ManualAckDevice, Service, eventually};
use serde_json::{Value, json};

/// Returns the number of queued messages from the device's identity.
#[track_caller]
fn queue_length(service: &Service, device_id: &str) -> u64 {
    let device = service.call("get_device", &json!({ "device_id": device_id })).unwrap();
    device["cloudToDeviceMessageCount"].as_u64().unwrap()
}

/// Waits until the device has acknowledged all of its messages.
#[track_caller]
fn until_empty(service: &Service, device_id: &str) {
    eventually("the queue is empty", Duration::from_secs(10), || {
        (queue_length(service, device_id) == 0).then_some(())
    });
}

#[track_caller]
fn check_properties(client: Client, websockets: bool) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev:1$x"))
        .client(client)
        .option("websockets", websockets)
        .start(&hub);
    device.listen_for_messages(true);
    let tomorrow = in_seconds(24 * 3600);
    let headers = json!({
        "iothub-messageid": "m/1 &=",
        "iothub-correlationid": "c",
        "iothub-userid": "u",
        "iothub-contenttype": "application/json",
        "iothub-contentencoding": "utf-8",
        "iothub-ack": "full",
        "iothub-expiry": tomorrow,
        "iothub-app-color": "red/green & 100% +#",
        "iothub-app-empty": "",
    });
    let body: Vec<u8> = (0..=255).collect();
    let queued = service.send("dev%3A1$x", headers, &body);
    assert_eq!((&queued["deviceId"], &queued["messageId"]), (&json!("dev:1$x"), &json!("m/1 &=")));
    let message = device.next_message();
    assert_eq!(message.body(), body);
    for (field, value) in [
        ("message_id", "m/1 &="),
        ("correlation_id", "c"),
        ("user_id", "u"),
        ("content_type", "application/json"),
        ("content_encoding", "utf-8"),
        ("ack", "full"),
        ("expiry", &tomorrow),
    ] {
        assert_eq!(message.text(field), value, "{field}");
    }
    assert_eq!(message.field("properties"), &json!({ "color": "red/green & 100% +#", "empty": "" }));
    // A message without properties and with an empty body.
    service.send("dev%3A1$x", json!({}), b"");
    let message = device.next_message();
    assert_eq!((message.body(), message.field("properties")), (Vec::new(), &json!({})));
    until_empty(&service, "dev:1$x");
}

/// Returns the time `seconds` from now, in RFC 3339.
fn in_seconds(seconds: i64) -> String {
    let moment =
        time::OffsetDateTime::from_unix_timestamp(ferrohub_acceptance::sas::now() + seconds).unwrap();
    moment.format(&time::format_description::well_known::Rfc3339).unwrap()
}

#[test]
fn all_properties_arrive() {
    check_properties(Client::Sync, false);
}

#[test]
fn all_properties_arrive_at_the_asynchronous_client_on_websocket() {
    check_properties(Client::Async, true);
}

#[test]
fn messages_sent_while_the_device_is_offline_arrive_in_order_after_the_reconnect() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    for number in 0..25 {
        service.send("dev1", json!({}), format!("before {number}").as_bytes());
    }
    assert_eq!(queue_length(&service, "dev1"), 25);
    let next = || device.receive_message(Duration::from_secs(20)).expect("a message").body_text();
    for number in 0..25 {
        assert_eq!(next(), format!("before {number}"));
    }
    until_empty(&service, "dev1");
    // The device does not subscribe again.
    device.disconnect();
    for number in 0..25 {
        service.send("dev1", json!({}), format!("offline {number}").as_bytes());
    }
    device.connect().unwrap();
    for number in 0..25 {
        assert_eq!(next(), format!("offline {number}"));
    }
    until_empty(&service, "dev1");
    assert_eq!(device.receive_message(Duration::from_secs(1)), None);
}

#[test]
fn a_device_that_unsubscribes_gets_no_messages_until_it_subscribes_again() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    service.send("dev1", json!({}), b"first");
    assert_eq!(device.next_message().body_text(), "first");
    device.listen_for_messages(false);
    service.send("dev1", json!({}), b"queued");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((device.messages().len(), queue_length(&service, "dev1")), (0, 1));
    device.listen_for_messages(true);
    assert_eq!(device.next_message().body_text(), "queued");
    until_empty(&service, "dev1");
}

#[test]
fn a_connected_device_gets_messages_at_once() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    let begun = Instant::now();
    for number in 0..100 {
        service.send("dev1", json!({ "iothub-app-n": number.to_string() }), b"x");
        assert_eq!(device.next_message().field("properties")["n"], Value::from(number.to_string()));
    }
    eprintln!("{:?} per message, including the request", begun.elapsed() / 100);
    until_empty(&service, "dev1");
}

#[test]
fn a_module_receives_messages_to_its_inputs() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let identity = service.create_module("dev1", "mod1");
    for client in [Client::Sync, Client::Async] {
        let module = Device::with_identity(&identity).client(client).start(&hub);
        module.listen_for_messages(true);
        let address = "/devices/dev1/modules/mod1/inputs/in%201";
        let headers = json!({ "iothub-app-a": "b/c", "iothub-messageid": "7" });
        let answer = service.try_send(address, headers, b"to the input");
        assert_eq!((answer.status, &answer.json()["moduleId"]), (200, &json!("mod1")));
        let message = module.next_message();
        assert_eq!(message.body_text(), "to the input");
        assert_eq!((message.text("input_name"), message.text("message_id")), ("in 1", "7"));
        assert_eq!(message.field("properties"), &json!({ "a": "b/c" }));
        module.shutdown();
    }
    // A subscription to inputs gets no messages without an input.
    service.send("dev1/modules/mod1", json!({}), b"to the module");
    let address = "/devices/dev1/modules/mod1/inputs/i";
    assert_eq!(service.try_send(address, json!({}), b"to the input").status, 200);
    let module = ManualAckDevice::start(&hub, &identity, true);
    module.connect();
    assert_eq!(module.subscribe("devices/dev1/modules/mod1/inputs/#", 1), 1);
    let delivery = module.next();
    assert_eq!(delivery.body, "to the input");
    assert!(delivery.topic.starts_with("devices/dev1/modules/mod1/inputs/i/%24.to="), "{}", delivery.topic);
    module.acknowledge(&delivery);
    assert_eq!(module.subscribe("devices/dev1/modules/mod1/#", 1), 1);
    let delivery = module.next();
    assert_eq!(delivery.body, "to the module");
    let topic = "devices/dev1/modules/mod1/messages/devicebound/%24.to=";
    assert!(delivery.topic.starts_with(topic), "{}", delivery.topic);
}

#[test]
fn only_unacknowledged_messages_are_sent_again() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    for number in 0..40 {
        service.send("dev1", json!({}), number.to_string().as_bytes());
    }
    let device = ManualAckDevice::start(&hub, &identity, false);
    assert!(!device.connect());
    assert_eq!(device.subscribe("devices/dev1/messages/devicebound/#", 1), 1);
    let first: Vec<Delivery> = (0..16).map(|_| device.next()).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(device.deliveries(), [], "at most 16 messages are in flight");
    let bodies = |deliveries: &[Delivery]| deliveries.iter().map(|d| d.body.clone()).collect::<Vec<_>>();
    let numbers = |from: usize, to: usize| (from..to).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(bodies(&first), numbers(0, 16));
    // All but two, in reverse order.
    for delivery in first.iter().rev().filter(|delivery| !["3", "5"].contains(&delivery.body.as_str())) {
        device.acknowledge(delivery);
    }
    let second: Vec<Delivery> = (0..14).map(|_| device.next()).collect();
    assert_eq!(bodies(&second), numbers(16, 30));
    eventually("the acknowledged messages are removed", Duration::from_secs(5), || {
        (queue_length(&service, "dev1") == 26).then_some(())
    });
    device.disconnect();
    // The session is stored: the device does not subscribe again.
    assert!(device.connect());
    let again: Vec<Delivery> = (0..16).map(|_| device.next()).collect();
    assert_eq!(bodies(&again), [vec!["3".to_owned(), "5".to_owned()], numbers(16, 30)].concat());
    again.iter().for_each(|delivery| device.acknowledge(delivery));
    let rest: Vec<Delivery> = (0..10).map(|_| device.next()).collect();
    assert_eq!(bodies(&rest), numbers(30, 40));
    // A newer connection of the device takes over, and receives the remaining messages in order.
    device.acknowledge(&rest[0]);
    eventually("the acknowledgement is processed", Duration::from_secs(5), || {
        (queue_length(&service, "dev1") == 9).then_some(())
    });
    let newer = ManualAckDevice::start(&hub, &identity, false);
    newer.connect();
    let left: Vec<Delivery> = (0..9).map(|_| newer.next()).collect();
    assert_eq!(bodies(&left), numbers(31, 40));
    left.iter().for_each(|delivery| newer.acknowledge(delivery));
    until_empty(&service, "dev1");
}

#[test]
fn a_clean_session_gets_no_messages_before_it_subscribes() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    service.send("dev1", json!({}), b"waits");
    for _ in 0..2 {
        let device = ManualAckDevice::start(&hub, &identity, true);
        assert!(!device.connect());
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(device.deliveries(), []);
        assert_eq!(device.subscribe("devices/dev1/messages/devicebound/#", 1), 1);
        assert_eq!(device.next().body, "waits");
        device.disconnect();
    }
    assert_eq!(queue_length(&service, "dev1"), 1);
}

#[test]
fn at_qos_0_a_message_is_completed_when_it_is_written() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let device = ManualAckDevice::start(&hub, &identity, false);
    device.connect();
    assert_eq!(device.subscribe("devices/dev1/messages/devicebound/#", 0), 0);
    for number in 0..40 {
        service.send("dev1", json!({}), number.to_string().as_bytes());
        let delivery = device.next();
        assert_eq!((delivery.qos, delivery.body), (0, number.to_string()));
    }
    until_empty(&service, "dev1");
    let refused = device.subscribe("devices/other/messages/devicebound/#", 1);
    assert_eq!(refused, 128, "messages of another device");
}
