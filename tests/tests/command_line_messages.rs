//! The commands `ferrohub c2d` and `ferrohub monitor feedback`, and the SDKs they use.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Device, HttpsDevice, Hub, Service};
use serde_json::{Value, json};

#[track_caller]
fn command(hub: &Hub, arguments: &[&str]) -> Value {
    let output = hub.command(arguments.iter().copied().chain(["--output", "json"])).success();
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn messages_are_sent_received_and_purged_with_feedback_on_the_command_line() {
    let hub = Hub::builder().config("[messages]\nfeedback_delay_seconds = 1").start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let _ = service.create_module("dev1", "mod1");
    let device = Device::with_identity(&identity).start(&hub);
    device.listen_for_messages(true);
    let sent = [
        "c2d",
        "send",
        "dev1",
        "hello",
        "--property",
        "color=red",
        "--property",
        "a=",
        "--ack",
        "full",
        "--message-id",
        "m1",
        "--content-type",
        "text/plain",
        "--ttl",
        "60",
    ];
    let queued = command(&hub, &sent);
    assert_eq!((&queued["deviceId"], &queued["messageId"]), (&json!("dev1"), &json!("m1")));
    let message = device.next_message();
    assert_eq!((message.body_text().as_str(), message.text("content_type")), ("hello", "text/plain"));
    assert_eq!(message.field("properties"), &json!({ "color": "red", "a": "" }));
    let feedback = command(&hub, &["monitor", "feedback", "--count", "1"]);
    assert_eq!((&feedback["originalMessageId"], &feedback["statusCode"]), (&json!("m1"), &json!("Success")));

    device.listen_for_messages(false);
    assert_eq!(command(&hub, &["c2d", "send", "dev1", "--ack", "negative", ""])["deviceId"], "dev1");
    // The body comes from standard input, which is empty here.
    let queued = command(&hub, &["c2d", "send", "dev1/mod1/in"]);
    assert_eq!((&queued["moduleId"], &queued["messageId"]), (&json!("mod1"), &Value::Null));
    assert_eq!(command(&hub, &["c2d", "purge", "dev1"])["totalMessagesPurged"], 1);
    assert_eq!(command(&hub, &["c2d", "purge", "dev1/mod1"])["totalMessagesPurged"], 1);
    let feedback = hub.command(["monitor", "feedback", "--count", "1"]).success();
    assert!(feedback.contains("dev1  Purged  "), "{feedback}");
    assert!(HttpsDevice::new(&service, &identity).receive().is_none());

    // Received as the device: abandoned, then completed; a rejected message is removed as well.
    command(&hub, &["c2d", "send", "dev1", "one", "--property", "color=red", "--message-id", "m2"]);
    command(&hub, &["c2d", "send", "dev1", "two"]);
    command(&hub, &["c2d", "send", "dev1/mod1", "three"]);
    let back = command(&hub, &["c2d", "receive", "dev1", "--settle", "abandon"]);
    assert_eq!((&back["body"], &back["deliveryCount"]), (&json!("one"), &json!(0)));
    let one = command(&hub, &["c2d", "receive", "dev1", "--count", "1"]);
    let expected =
        json!({ "messageId": "m2", "deliveryCount": 1, "properties": { "color": "red" }, "body": "one" });
    assert_eq!(one, expected);
    assert!(hub.command(["c2d", "receive", "dev1", "--settle", "reject"]).success().contains("two"));
    assert_eq!(
        command(&hub, &["c2d", "receive", "dev1/mod1", "--wait", "5", "--count", "1"])["body"],
        "three"
    );
    assert_eq!(hub.command(["c2d", "receive", "dev1"]).success(), "", "the queue is empty");

    let refused = |arguments: &[&str]| {
        let output = hub.command(arguments.iter().copied());
        assert_ne!(output.code, 0);
        output.stderr
    };
    assert!(refused(&["c2d", "send", "nobody", "x"]).contains("DeviceNotFound"));
    assert!(refused(&["c2d", "send", "dev1", "x", "--property", "color"]).contains("NAME=VALUE"));
    assert!(refused(&["c2d", "send", "dev1", "x", "--expiry", "soon"]).contains("--expiry is not a time"));
    let past = refused(&["c2d", "send", "dev1", "x", "--expiry", "2020-01-01T00:00:00Z"]);
    assert!(past.contains("InvalidMessageExpiryTime"), "{past}");
}
