//! Cloud-to-device messages that Microsoft's service client sends over AMQP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Device, Hub, Service};
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
