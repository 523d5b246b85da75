//! What devices send on their own, with Microsoft's device package, and how back ends read it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Client, Device, Event, Events, Hub, Message, Service};
use serde_json::json;

/// One message with everything that the package lets one say.
fn full_message() -> Message {
    Message::text("{\"temperature\": 21.5, \"where\": \"Küche\"}")
        .system("message_id", "m 1/ä")
        .system("correlation_id", "c&1=2")
        .system("user_id", "u+1")
        .system("content_type", "application/json")
        .system("content_encoding", "utf-8")
        .system("expiry_time_utc", "2030-01-01T00:00:00Z")
        .custom("a&b=c/d+e%f é", "1&2=3/4+5%6 ü")
        .custom("empty", "")
        .custom("plain", "x y")
}

#[track_caller]
fn assert_full(event: &Event) {
    assert_eq!(event.json(), json!({ "temperature": 21.5, "where": "Küche" }));
    for (name, value) in [
        ("message-id", "m 1/ä"),
        ("correlation-id", "c&1=2"),
        ("user-id", "u+1"),
        ("content-type", "application/json"),
        ("content-encoding", "utf-8"),
        ("absolute-expiry-time", "2030-01-01T00:00:00Z"),
        ("iothub-message-source", "Telemetry"),
        (
            "iothub-connection-auth-method",
            "{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\",\"acceptingIpFilterRule\":null}",
        ),
    ] {
        assert_eq!(event.system(name), value, "{name}");
    }
    assert_eq!(*event.properties(), json!({ "a&b=c/d+e%f é": "1&2=3/4+5%6 ü", "empty": "", "plain": "x y" }));
}

#[test]
fn a_message_arrives_as_it_was_sent() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let events = Events::of(&hub, &service);
    let clients = [Client::Sync, Client::Async].into_iter().flat_map(|c| [(c, false), (c, true)]);
    for (number, (client, websockets)) in clients.enumerate() {
        let id = format!("dev{number}");
        let identity = service.create_device(&id);
        let device = Device::of(&identity).client(client).option("websockets", websockets).start(&hub);
        device.send(&[full_message()]).unwrap();
        device.send(&[Message::bytes(b"\xff\x00\x80"), Message::text("")]).unwrap();
        let sent = events.wait_for(3, |event| event.device() == id);
        assert_full(&sent[0]);
        assert_eq!(sent[0].system("iothub-connection-auth-generation-id"), identity.document["generationId"]);
        assert_eq!(sent[0].0["enqueuedTime"], sent[0].system("iothub-enqueuedtime"));
        let mut bodies: Vec<_> = sent[1..].iter().map(Event::bytes).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, [&b""[..], b"\xff\x00\x80"]);
        assert_eq!(*sent[1].properties(), json!({}));
    }
}
