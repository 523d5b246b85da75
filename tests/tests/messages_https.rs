//! Cloud-to-device messages over HTTPS: receive, lock and settle; all limits; feedback for senders.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{
    Device, HttpResponse, HttpsDevice, Hub, ManualAckDevice, Service, eventually, sas,
};
use serde_json::{Value, json};

const DEVICE: &str = "/devices/dev1/messages/deviceBound";

#[track_caller]
fn queue_length(service: &Service, device_id: &str) -> u64 {
    let device = service.call("get_device", &json!({ "device_id": device_id })).unwrap();
    device["cloudToDeviceMessageCount"].as_u64().unwrap()
}

#[track_caller]
fn assert_refused(answer: &HttpResponse, status: u16, code: &str) {
    assert_eq!((answer.status, answer.error_code()), (status, code), "{}", answer.body);
}

fn in_millis(millis: i64) -> String {
    let moment = time::OffsetDateTime::now_utc() + time::Duration::milliseconds(millis);
    moment.format(&time::format_description::well_known::Rfc3339).unwrap()
}

#[test]
fn a_message_is_received_locked_and_settled() {
    let hub = Hub::builder().config("[messages]\nmax_deliveries = 3").start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    assert!(device.receive().is_none());
    let headers = json!({
        "iothub-messageid": "m1", "iothub-correlationid": "c", "iothub-userid": "u", "iothub-ack": "full",
        "iothub-app-color": "red",
    });
    service.send("dev1", headers, b"one");
    service.send("dev1", json!({}), b"two");
    let (first, answer) = device.receive().unwrap();
    assert_eq!(answer.body, "one");
    for (name, value) in [
        ("iothub-messageid", "m1"),
        ("iothub-correlationid", "c"),
        ("iothub-userid", "u"),
        ("iothub-ack", "full"),
        ("iothub-to", DEVICE),
        ("iothub-app-color", "red"),
        ("iothub-sequencenumber", "1"),
        ("iothub-deliverycount", "0"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(answer.header("iothub-enqueuedtime") < answer.header("iothub-expiry"));
    // The first message is locked: the next one is the second message, and then there is none.
    let (second, answer) = device.receive().unwrap();
    assert_eq!((answer.body.as_str(), answer.header("iothub-sequencenumber")), ("two", "2"));
    assert!(device.receive().is_none());
    assert_eq!(queue_length(&service, "dev1"), 2);
    assert_eq!(device.complete(&second).status, 204);
    assert_refused(&device.complete(&second), 412, "DeviceMessageLockLost");
    assert_eq!(queue_length(&service, "dev1"), 1);
    // An abandoned message keeps its position in the queue, until the maximum delivery count is reached.
    service.send("dev1", json!({}), b"three");
    let mut token = first.clone();
    for count in ["1", "2"] {
        assert_eq!(device.abandon(&token).status, 204);
        let (next, answer) = device.receive().unwrap();
        assert_eq!((answer.body.as_str(), answer.header("iothub-deliverycount")), ("one", count));
        token = next;
    }
    for answer in [device.complete(&first), device.reject(&first), device.abandon(&first)] {
        assert_refused(&answer, 412, "DeviceMessageLockLost");
    }
    assert_eq!(device.abandon(&token).status, 204);
    let (token, answer) = device.receive().unwrap();
    assert_eq!(answer.body, "three", "the first message is dead-lettered");
    assert_eq!(device.reject(&token).status, 204);
    assert_eq!(queue_length(&service, "dev1"), 0);
    // Lock tokens of another device are refused.
    service.send("dev1", json!({}), b"four");
    let (token, _) = device.receive().unwrap();
    let other = HttpsDevice::new(&service, &service.create_device("dev2"));
    for token in [token.as_str(), "x", "00000000-0000-0000-0000-000000000000"] {
        assert_refused(&other.complete(token), 412, "DeviceMessageLockLost");
    }
    assert_eq!(device.complete(&token).status, 204);
    let metrics = hub.metrics();
    for line in [
        "ferrohub_messages_total{outcome=\"queued\"} 4",
        "ferrohub_messages_total{outcome=\"completed\"} 2",
        "ferrohub_messages_total{outcome=\"abandoned\"} 3",
        "ferrohub_messages_total{outcome=\"dead_lettered\"} 1",
        "ferrohub_messages_total{outcome=\"rejected\"} 1",
        "ferrohub_messages_waiting 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn a_message_is_never_delivered_over_mqtt_and_https_at_once() {
    let hub = Hub::builder().config("[messages]\nlock_seconds = 2").start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let https = HttpsDevice::new(&service, &identity);
    service.send("dev1", json!({}), b"one");
    service.send("dev1", json!({}), b"two");
    let (_, answer) = https.receive().unwrap();
    assert_eq!(answer.body, "one");
    let device = ManualAckDevice::start(&hub, &identity, false);
    device.connect();
    device.subscribe("devices/dev1/messages/devicebound/#", 1);
    let two = device.next();
    assert_eq!(two.body, "two");
    assert!(https.receive().is_none(), "the MQTT connection has the lock");
    // The lock expires: the MQTT connection gets the message.
    let one = device.next();
    assert_eq!(one.body, "one");
    device.acknowledge(&one);
    device.acknowledge(&two);
    eventually("both are completed", Duration::from_secs(5), || {
        (queue_length(&service, "dev1") == 0).then_some(())
    });
    // A message that the closed connection did not acknowledge is available over HTTPS.
    service.send("dev1", json!({}), b"three");
    assert_eq!(device.next().body, "three");
    device.disconnect();
    let three = eventually("the lock is released", Duration::from_secs(5), || https.take());
    assert_eq!(three, "three");
}

#[test]
fn modules_have_their_own_queues() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    let module = HttpsDevice::new(&service, &service.create_module("dev1", "mod1"));
    service.send("dev1/modules/mod1", json!({}), b"for the module");
    let input = "/devices/dev1/modules/mod1/inputs/in";
    assert_eq!(service.try_send(input, json!({}), b"for its input").status, 200);
    assert!(device.receive().is_none());
    assert_eq!(module.take().as_deref(), Some("for the module"));
    let (_, answer) = module.receive().unwrap();
    assert_eq!((answer.body.as_str(), answer.header("iothub-to")), ("for its input", input));
    let counted = service.call("get_module", &json!({ "device_id": "dev1", "module_id": "mod1" })).unwrap();
    assert_eq!(counted["cloudToDeviceMessageCount"], 1);
    let twin = service.call("get_twin", &json!({ "device_id": "dev1", "module_id": "mod1" })).unwrap();
    assert_eq!(twin["cloudToDeviceMessageCount"], 1);
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let path = "/devices/dev1/modules/mod1/commands?api-version=2021-04-12";
    let purged = service.http("DELETE", path, Some(&token), None).json();
    assert_eq!(purged, json!({ "totalMessagesPurged": 1, "deviceId": "dev1", "moduleId": "mod1" }));
}

#[test]
fn all_limits_are_enforced() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    let send = |headers: Value, body: &[u8]| service.try_send(DEVICE, headers, body);
    // 64 KiB including properties: the address counts.
    let room = 65536 - DEVICE.len();
    assert_eq!(send(json!({}), &vec![b'x'; room]).status, 200);
    assert_refused(&send(json!({}), &vec![b'x'; room + 1]), 413, "MessageTooLarge");
    assert_refused(&send(json!({ "iothub-app-a": "b" }), &vec![b'x'; room - 1]), 413, "MessageTooLarge");
    assert_eq!(device.take().map(|body| body.len()), Some(room));
    // Few bytes, but three encoded bytes for each in a topic: too long for a device on MQTT.
    assert_refused(&send(json!({ "iothub-app-a": "%".repeat(27_000) }), b""), 413, "MessageTooLarge");
    // Expiry times.
    for expiry in [in_millis(-1000), in_millis(49 * 3600 * 1000), "tomorrow".to_owned()] {
        let answer = send(json!({ "iothub-expiry": expiry }), b"");
        assert_refused(&answer, 403, "InvalidMessageExpiryTime");
    }
    assert_eq!(send(json!({ "iothub-expiry": in_millis(47 * 3600 * 1000) }), b"").status, 200);
    assert_refused(&send(json!({ "iothub-ack": "perhaps" }), b""), 400, "ArgumentInvalid");
    // Addresses.
    for (address, status, code) in [
        ("/devices/nobody/messages/deviceBound", 404, "DeviceNotFound"),
        ("/devices/dev1/modules/nobody/messages/deviceBound", 404, "ModuleNotFound"),
        ("/devices/dev1/messages/events", 400, "InvalidOperation"),
        ("dev1", 400, "InvalidOperation"),
    ] {
        assert_refused(&service.try_send(address, json!({}), b""), status, code);
    }
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let unaddressed = service.http("POST", "/messages/deviceBound", Some(&token), Some("x"));
    assert_refused(&unaddressed, 400, "InvalidOperation");
    // One message is queued already.
    for _ in 1..50 {
        assert_eq!(send(json!({}), b"x").status, 200);
    }
    assert_refused(&send(json!({}), b"x"), 403, "DeviceMaximumQueueDepthExceeded");
    assert_eq!(queue_length(&service, "dev1"), 50);
    let purged = service.call("purge", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(purged, json!({ "totalMessagesPurged": 50, "deviceId": "dev1" }));
    let purge = |path: &str, token: &str| service.http("DELETE", path, Some(token), None);
    let purged = purge("/devices/dev1/commands", &token);
    assert_eq!(purged.body, r#"{"totalMessagesPurged":0,"deviceId":"dev1","moduleId":null}"#);
    assert_refused(&purge("/devices/nobody/commands", &token), 404, "DeviceNotFound");
}

#[test]
fn callers_without_the_right_are_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let other = service.create_device("dev2");
    service.send("dev1", json!({}), b"secret");
    let refused = |verb: &str, path: &str, token: &str| {
        let headers = json!({ "Authorization": token, "iothub-to": DEVICE });
        let answer = service.http_with(verb, path, headers, None);
        assert_refused(&answer, 401, "IotHubUnauthorizedAccess");
    };
    let guid = "00000000-0000-0000-0000-000000000000";
    for token in [other.token(), sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))] {
        refused("GET", DEVICE, &token);
        refused("DELETE", &format!("{DEVICE}/{guid}"), &token);
        refused("POST", &format!("{DEVICE}/{guid}/abandon"), &token);
    }
    let token = identity.token();
    refused("POST", "/messages/deviceBound", &token);
    refused("DELETE", "/devices/dev1/commands", &token);
    refused("GET", "/messages/serviceBound/feedback", &token);
    refused("DELETE", &format!("/messages/serviceBound/feedback/{guid}"), &token);
    refused("POST", &format!("/messages/serviceBound/feedback/{guid}/abandon"), &token);
    assert_eq!(queue_length(&service, "dev1"), 1);
}

#[test]
fn senders_get_feedback_for_every_outcome() {
    let hub = Hub::builder()
        .config("[messages]\nmax_deliveries = 1\nfeedback_delay_seconds = 2\nfeedback_lock_seconds = 3")
        .start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let device = HttpsDevice::new(&service, &identity);
    assert!(service.receive_feedback().is_none());
    let send = |id: &str, ack: &str| {
        service.send("dev1", json!({ "iothub-messageid": id, "iothub-ack": ack }), id.as_bytes());
    };
    let token = || device.receive().expect("a message").0;
    for ack in ["full", "positive", "negative", "none"] {
        send(&format!("success {ack}"), ack);
        assert_eq!(device.complete(&token()).status, 204);
        send(&format!("rejected {ack}"), ack);
        assert_eq!(device.reject(&token()).status, 204);
    }
    send("abandoned", "full");
    assert_eq!(device.abandon(&token()).status, 204);
    let soon =
        json!({ "iothub-messageid": "expired", "iothub-ack": "full", "iothub-expiry": in_millis(300) });
    service.send("dev1", soon, b"");
    eventually("the message expires", Duration::from_secs(10), || {
        (queue_length(&service, "dev1") == 0).then_some(())
    });
    send("purged", "negative");
    service.call("purge", &json!({ "device_id": "dev1" })).unwrap();
    // A device on Microsoft's client, over MQTT.
    let real = Device::with_identity(&identity).start(&hub);
    real.listen_for_messages(true);
    send("completed", "positive");
    assert_eq!(real.next_message().text("message_id"), "completed");

    let mut feedback: Vec<(String, String)> = Vec::new();
    let mut first = None;
    eventually("all feedback is received", Duration::from_secs(30), || {
        let (token, records) = service.receive_feedback()?;
        for record in records {
            assert_eq!(record["deviceId"], "dev1");
            assert_eq!(record["deviceGenerationId"], identity.document["generationId"]);
            assert!(record["enqueuedTimeUtc"].as_str().unwrap().ends_with('Z'));
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            feedback.push((text("originalMessageId"), text("statusCode")));
        }
        if first.is_none() {
            // After abandoning, the same batch is delivered again.
            service.call("abandon_feedback", &json!({ "lock_token": token })).unwrap();
            first = Some(std::mem::take(&mut feedback));
            return None;
        }
        service.call("complete_feedback", &json!({ "lock_token": token })).unwrap();
        let late = service.call("complete_feedback", &json!({ "lock_token": token })).unwrap_err();
        assert_eq!((late.http.status, late.http.error_code()), (412, "DeviceMessageLockLost"));
        (feedback.len() >= 8).then_some(())
    });
    let expected = [
        ("success full", "Success"),
        ("rejected full", "Rejected"),
        ("success positive", "Success"),
        ("rejected negative", "Rejected"),
        ("abandoned", "DeliveryCountExceeded"),
        ("expired", "Expired"),
        ("purged", "Purged"),
        ("completed", "Success"),
    ];
    let expected: Vec<_> = expected.map(|(id, status)| (id.to_owned(), status.to_owned())).into();
    assert_eq!(feedback, expected);
    assert_eq!(first.unwrap().first(), expected.first());
}

#[test]
fn a_full_feedback_batch_is_delivered_at_once() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    for round in 0..2 {
        for number in 0..33 {
            let headers = json!({ "iothub-messageid": format!("{round}-{number}"), "iothub-ack": "full" });
            service.send("dev1", headers, b"");
        }
        service.call("purge", &json!({ "device_id": "dev1" })).unwrap();
        if round == 0 {
            assert!(service.receive_feedback().is_none(), "33 records wait for others");
        }
    }
    let (token, records) = service.receive_feedback().expect("66 records");
    assert_eq!(records.len(), 64);
    assert!(service.receive_feedback().is_none(), "two are left");
    assert_eq!(records[0]["originalMessageId"], "0-0");
    service.call("complete_feedback", &json!({ "lock_token": token })).unwrap();
    // The remaining records are deleted with their device.
    service.send("dev1", json!({}), b"waits");
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    let fresh = service.create_device("dev1");
    assert_ne!(fresh.document["generationId"], identity.document["generationId"]);
    assert!(HttpsDevice::new(&service, &fresh).receive().is_none());
    assert!(hub.metrics().contains("ferrohub_messages_waiting 0\n"));
}
