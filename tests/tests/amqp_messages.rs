//! Cloud-to-device messages that Microsoft's service client sends over AMQP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Device, Hub, NodeClient, Service};
use serde_json::json;

#[test]
fn a_message_with_its_properties_arrives() {
    let hub = Hub::start();
    let service = Service::with_service_policy(&hub);
    let device = Device::with_identity(&Service::owner(&hub).create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    service
        .call(
            "send_c2d_message",
            &json!({ "device_id": "dev1", "message": "hello", "properties": {
                "messageId": "m1", "correlationId": "c1", "contentType": "application/json",
                "contentEncoding": "utf-8", "iothub-ack": "full", "color": "red", "number": 5,
            }}),
        )
        .unwrap();
    let message = device.next_message();
    assert_eq!(message.body_text(), "hello");
    for (field, value) in [
        ("message_id", "m1"),
        ("correlation_id", "c1"),
        ("content_type", "application/json"),
        ("content_encoding", "utf-8"),
        ("ack", "full"),
    ] {
        assert_eq!(message.text(field), value, "{field}");
    }
    assert_eq!(message.field("properties"), &json!({ "color": "red", "number": "5" }));
}

/// The error of a message that the hub rejects: the client knows no reason.
const SEND_FAILURE: &str = "C2D message send failure";

#[track_caller]
fn send(service: &Service, device_id: &str, message: &str) -> Result<(), String> {
    let arguments = json!({ "device_id": device_id, "message": message });
    service.call("send_c2d_message", &arguments).map(drop).map_err(|error| error.message)
}

#[test]
fn messages_of_a_service_with_an_entra_token_arrive() {
    let hub = Hub::builder().with_development_issuer().start();
    let service = Service::with_entra(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    for number in 0..10 {
        send(&service, "dev1", &number.to_string()).unwrap();
        assert_eq!(device.next_message().body_text(), number.to_string());
    }
}

#[test]
fn a_rejected_message_does_not_end_the_connection() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    assert_eq!(send(&service, "none", "x").unwrap_err(), SEND_FAILURE);
    let huge = json!({ "device_id": "dev1", "message": "x", "size": 200 * 1024 });
    assert_eq!(service.call("send_c2d_message", &huge).unwrap_err().message, SEND_FAILURE);
    let large = json!({ "device_id": "dev1", "message": "ab", "size": 60 * 1024 });
    service.call("send_c2d_message", &large).unwrap();
    assert_eq!(device.next_message().body(), b"ab".repeat(30 * 1024));
}

#[test]
fn a_wrong_key_is_an_authentication_error() {
    let hub = Hub::start();
    let wrong = format!(
        "HostName={};SharedAccessKeyName=service;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==",
        hub.name()
    );
    let service = Service::with_connection_string(&hub, &wrong);
    let arguments = json!({ "device_id": "dev1", "message": "x" });
    let error = service.call("send_c2d_message", &arguments).unwrap_err();
    assert_eq!(error.exception, "TokenAuthFailure", "{error:?}");
    let log = hub.log();
    let line =
        log.lines().find(|line| line.contains("service request refused")).unwrap_or_else(|| panic!("{log}"));
    for text in [
        "reason=\"bad_signature\"",
        "peer=127.",
        "policy=\"service\"",
        "operation=\"sendMessage\"",
        "remedy=",
    ] {
        assert!(line.contains(text), "{text}: {line}");
    }
}

#[test]
fn a_policy_without_the_right_cannot_send() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let hub = Hub::builder()
        .config(&format!(
            "[[policy]]\nname = \"reader\"\nrights = [\"RegistryRead\"]\nprimary_key = \"{key}\"\n\
             secondary_key = \"{key}\""
        ))
        .start();
    let string = format!("HostName={};SharedAccessKeyName=reader;SharedAccessKey={key}", hub.name());
    let service = Service::with_connection_string(&hub, &string);
    let arguments = json!({ "device_id": "dev1", "message": "x" });
    let error = service.call("send_c2d_message", &arguments).unwrap_err();
    assert!(error.message.contains("UnauthorizedAccess"), "{error:?}");
}

#[test]
fn a_node_service_sends_messages_and_learns_why_one_is_rejected() {
    let hub = Hub::builder().config("[messages]\nqueue_length = 1").start();
    let service = NodeClient::service(&hub);
    let device = Device::with_identity(&Service::owner(&hub).create_device("dev:1")).start(&hub);
    let message =
        json!({ "messageId": "m1", "correlationId": "c1", "ack": "full", "contentType": "text/plain" });
    let send = |device_id: &str| {
        let arguments = json!({
            "device_id": device_id, "body": "from Node", "message": message, "properties": { "color": "red" },
        });
        service.call("send_message", &arguments)
    };
    send("dev:1").unwrap();
    assert_eq!(send("none").unwrap_err().exception, "DeviceNotFoundError");
    assert_eq!(send("dev:1").unwrap_err().exception, "DeviceMaximumQueueDepthExceededError");
    device.listen_for_messages(true);
    let message = device.next_message();
    assert_eq!(message.body_text(), "from Node");
    for (field, value) in
        [("message_id", "m1"), ("correlation_id", "c1"), ("ack", "full"), ("content_type", "text/plain")]
    {
        assert_eq!(message.text(field), value, "{field}");
    }
    assert_eq!(message.field("properties"), &json!({ "color": "red" }));
}

#[test]
fn a_node_service_sends_again_after_a_restart_of_the_hub() {
    let mut hub = Hub::start();
    let service = NodeClient::service(&hub);
    let identity = Service::owner(&hub).create_device("dev1");
    let arguments = |body: &str| json!({ "device_id": "dev1", "body": body });
    service.ok("send_message", &arguments("before"));
    hub.restart();
    service.ok("send_message", &arguments("after"));
    let device = Device::with_identity(&identity).start(&hub);
    device.listen_for_messages(true);
    // The client reports messages that arrive together in any order.
    let mut received = [device.next_message().body_text(), device.next_message().body_text()];
    received.sort_unstable();
    assert_eq!(received, ["after", "before"]);
}

#[test]
fn messages_arrive_over_websocket() {
    let hub = Hub::builder().with_development_issuer().start();
    let device = Device::with_identity(&Service::owner(&hub).create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    for (with_entra, body) in [(false, "a SAS token"), (true, "an Entra token")] {
        let service = Service::over_websocket(&hub, with_entra);
        send(&service, "dev1", body).unwrap();
        assert_eq!(device.next_message().body_text(), body);
        assert_eq!(send(&service, "none", body).unwrap_err(), SEND_FAILURE);
        // Larger than one frame of AMQP.
        let large = json!({ "device_id": "dev1", "message": "ab", "size": 60 * 1024 });
        service.call("send_c2d_message", &large).unwrap();
        assert_eq!(device.next_message().body(), b"ab".repeat(30 * 1024));
    }
    let node = NodeClient::service_over(&hub, "amqp_ws");
    node.ok("send_message", &json!({ "device_id": "dev1", "body": "from Node" }));
    assert_eq!(device.next_message().body_text(), "from Node");
}

#[test]
fn a_wrong_key_is_an_authentication_error_over_websocket_and_for_node() {
    let hub = Hub::start();
    let wrong = format!(
        "HostName={};SharedAccessKeyName=service;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==",
        hub.name()
    );
    for transport in ["amqp", "amqp_ws"] {
        let node =
            NodeClient::service_with(&hub, &json!({ "connection_string": wrong, "transport": transport }));
        let error = node.call("send_message", &json!({ "device_id": "dev1", "body": "x" })).unwrap_err();
        assert!(error.cause.contains("UnauthorizedError"), "{transport} {error:?}");
    }
    assert!(hub.metric("ferrohub_unauthorized_total", "bad_signature") >= 2.0);
}

#[test]
fn a_node_service_with_an_entra_token_sends_and_receives() {
    let hub =
        Hub::builder().with_development_issuer().config("[messages]\nfeedback_delay_seconds = 0").start();
    let service = Service::with_entra(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let token = service.call("entra_token", &json!({})).unwrap();
    let config = json!({ "connection_string": hub.variable("IOTHUB_CONNECTION_STRING"),
        "entra": { "host": hub.name(), "token": token } });
    let node = NodeClient::service_with(&hub, &config);
    node.ok("receive", &json!({ "kind": "feedback", "settle": ["complete"] }));
    let message = json!({ "messageId": "m1", "ack": "full" });
    node.ok("send_message", &json!({ "device_id": "dev1", "body": "x", "message": message }));
    device.listen_for_messages(true);
    assert_eq!(device.next_message().body_text(), "x");
    let _ = node.event("feedback", |event| event["body"][0]["originalMessageId"] == "m1");
    // A wrong token.
    let config = json!({ "connection_string": hub.variable("IOTHUB_CONNECTION_STRING"),
        "entra": { "host": hub.name(), "token": "a.b.c" } });
    let node = NodeClient::service_with(&hub, &config);
    let error = node.call("send_message", &json!({ "device_id": "dev1", "body": "x" })).unwrap_err();
    assert!(error.cause.contains("UnauthorizedError"), "{error:?}");
}
