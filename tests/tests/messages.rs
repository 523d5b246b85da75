//! Messages to devices, received by Microsoft's clients over MQTT.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::{Duration, Instant};

use ferrohub_acceptance::{Client, Device, Hub, Service, eventually};
use serde_json::{Value, json};

/// How many messages wait for a device, as its identity says.
#[track_caller]
fn waiting(service: &Service, device_id: &str) -> u64 {
    let device = service.call("get_device", &json!({ "device_id": device_id })).unwrap();
    device["cloudToDeviceMessageCount"].as_u64().unwrap()
}

/// Waits until the hub has heard that the device has all of its messages.
#[track_caller]
fn until_empty(service: &Service, device_id: &str) {
    eventually("the queue is empty", Duration::from_secs(10), || {
        (waiting(service, device_id) == 0).then_some(())
    });
}

#[track_caller]
fn properties_of_every_kind(client: Client, websockets: bool) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::of(&service.create_device("dev:1$x"))
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
    // Nothing but a body.
    service.send("dev%3A1$x", json!({}), b"");
    let message = device.next_message();
    assert_eq!((message.body(), message.field("properties")), (Vec::new(), &json!({})));
    until_empty(&service, "dev:1$x");
}

/// In so many seconds.
fn in_seconds(seconds: i64) -> String {
    let moment =
        time::OffsetDateTime::from_unix_timestamp(ferrohub_acceptance::sas::now() + seconds).unwrap();
    moment.format(&time::format_description::well_known::Rfc3339).unwrap()
}

#[test]
fn properties_of_every_kind_arrive() {
    properties_of_every_kind(Client::Sync, false);
}

#[test]
fn properties_of_every_kind_arrive_at_the_asynchronous_client_on_a_web_socket() {
    properties_of_every_kind(Client::Async, true);
}

#[test]
fn what_was_sent_while_the_device_was_away_arrives_in_order_when_it_is_back() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::of(&service.create_device("dev1")).start(&hub);
    for number in 0..25 {
        service.send("dev1", json!({}), format!("before {number}").as_bytes());
    }
    assert_eq!(waiting(&service, "dev1"), 25);
    let next = || device.receive_message(Duration::from_secs(20)).expect("a message").body_text();
    for number in 0..25 {
        assert_eq!(next(), format!("before {number}"));
    }
    until_empty(&service, "dev1");
    // It never subscribes again.
    device.disconnect();
    for number in 0..25 {
        service.send("dev1", json!({}), format!("away {number}").as_bytes());
    }
    device.connect().unwrap();
    for number in 0..25 {
        assert_eq!(next(), format!("away {number}"));
    }
    until_empty(&service, "dev1");
    assert_eq!(device.receive_message(Duration::from_secs(1)), None);
}

#[test]
fn a_device_that_does_not_listen_any_more_hears_nothing_until_it_does() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::of(&service.create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    service.send("dev1", json!({}), b"first");
    assert_eq!(device.next_message().body_text(), "first");
    device.listen_for_messages(false);
    service.send("dev1", json!({}), b"unheard");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((device.messages().len(), waiting(&service, "dev1")), (0, 1));
    device.listen_for_messages(true);
    assert_eq!(device.next_message().body_text(), "unheard");
    until_empty(&service, "dev1");
}

#[test]
fn a_device_that_is_there_hears_at_once() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::of(&service.create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    let begun = Instant::now();
    for number in 0..100 {
        service.send("dev1", json!({ "iothub-app-n": number.to_string() }), b"x");
        assert_eq!(device.next_message().field("properties")["n"], Value::from(number.to_string()));
    }
    eprintln!("{:?} for each message, request and all", begun.elapsed() / 100);
    until_empty(&service, "dev1");
}
