//! The hub crashes while messages are queued, delivered and acknowledged. No message is lost, and no completed message
//! is delivered again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::HashMap;
use std::thread::sleep;
use std::time::Duration;

use ferrohub_acceptance::{
    Client, Delivery, Device, HttpsDevice, Hub, ManualAckDevice, Service, eventually, sas,
};
use serde_json::json;

#[track_caller]
fn queue_length(service: &Service, device_id: &str) -> u64 {
    let device = service.call("get_device", &json!({ "device_id": device_id })).unwrap();
    device["cloudToDeviceMessageCount"].as_u64().unwrap()
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.body.as_str()).collect()
}

#[test]
fn only_messages_that_were_not_completed_are_delivered_again_after_a_crash() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let (https, mqtt) =
        (HttpsDevice::new(&service, &identity), || ManualAckDevice::start(&hub, &identity, false));
    for body in ["a", "b", "c", "d", "e"] {
        service.send("dev1", json!({ "iothub-ack": "full", "iothub-messageid": body }), body.as_bytes());
    }
    let (done, _) = https.receive().unwrap();
    let (open, answer) = https.receive().unwrap();
    assert_eq!(answer.body, "b");
    assert_eq!(https.complete(&done).status, 204);
    let device = mqtt();
    device.connect();
    device.subscribe("devices/dev1/messages/devicebound/#", 1);
    let before: Vec<Delivery> = (0..3).map(|_| device.next()).collect();
    assert_eq!(bodies(&before), ["c", "d", "e"]);
    device.acknowledge(&before[1]);
    eventually("the message is completed", Duration::from_secs(30), || {
        (queue_length(&service, "dev1") == 3).then_some(())
    });
    device.kill();
    drop(device);
    hub.kill();
    hub.start_again();
    assert_eq!(queue_length(&service, "dev1"), 3);
    for answer in [https.complete(&open), https.abandon(&open), https.complete(&done)] {
        assert_eq!((answer.status, answer.error_code()), (412, "DeviceMessageLockLost"));
    }
    let device = ManualAckDevice::start(&hub, &identity, false);
    assert!(device.connect(), "the subscription survived the crash");
    let after: Vec<Delivery> = (0..3).map(|_| device.next()).collect();
    assert_eq!(bodies(&after), ["b", "c", "e"]);
    after.iter().for_each(|delivery| device.acknowledge(delivery));
    eventually("all are completed", Duration::from_secs(30), || {
        (queue_length(&service, "dev1") == 0).then_some(())
    });
    sleep(Duration::from_millis(300));
    assert_eq!(device.deliveries(), []);
    // Feedback is stored with each completion, also for those before the crash.
    let mut feedback = Vec::new();
    eventually("all feedback is received", Duration::from_secs(60), || {
        let (token, records) = service.receive_feedback()?;
        feedback
            .extend(records.iter().map(|record| record["originalMessageId"].as_str().unwrap().to_owned()));
        service.call("complete_feedback", &json!({ "lock_token": token })).unwrap();
        (feedback.len() >= 5).then_some(())
    });
    feedback.sort_unstable();
    assert_eq!(feedback, ["a", "b", "c", "d", "e"]);
}

/// Number of crashes and shutdowns of the hub.
const RESTARTS: usize = 6;

#[track_caller]
fn check_stream(client: Client, websockets: bool) {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1"))
        .client(client)
        .option("connection_retry_interval", 1)
        .option("websockets", websockets)
        .start(&hub);
    device.listen_for_messages(true);
    let headers = json!({ "Authorization": sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")) });
    let mut accepted: Vec<String> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for restart in 0..RESTARTS {
        let arguments =
            json!({ "url": hub.url(), "device_id": "dev1", "prefix": restart, "headers": headers });
        let stream = service.begin("send_until_failure", &arguments);
        sleep(Duration::from_millis(700 + 130 * restart as u64));
        if restart % 3 == 2 {
            hub.stop();
        } else {
            hub.kill();
        }
        let sent = stream.wait().expect("accepted messages");
        accepted.extend(sent.as_array().unwrap().iter().map(|body| body.as_str().unwrap().to_owned()));
        hub.start_again();
        for message in device.messages() {
            *seen.entry(message.body_text()).or_default() += 1;
        }
    }
    eventually("all have arrived", Duration::from_secs(60), || {
        for message in device.messages() {
            *seen.entry(message.body_text()).or_default() += 1;
        }
        accepted.iter().all(|body| seen.contains_key(body)).then_some(())
    });
    eventually("all are completed", Duration::from_secs(30), || {
        (queue_length(&service, "dev1") == 0).then_some(())
    });
    let twice = seen.values().filter(|times| **times > 1).count();
    eprintln!(
        "{} messages accepted, {} delivered again after one of {RESTARTS} restarts",
        accepted.len(),
        twice
    );
    assert!(accepted.len() > RESTARTS, "the stream sent messages before the restarts: {}", accepted.len());
    // At most the messages in flight, and those acknowledged but not yet on disk.
    assert!(twice <= RESTARTS * 32, "{twice} delivered again");
    // A message that arrived without being accepted was on disk when the hub crashed before its response.
    assert!(
        seen.len() - accepted.len() <= RESTARTS,
        "{} messages were never sent",
        seen.len() - accepted.len()
    );
}

#[test]
fn heavy_no_message_is_lost_over_restarts_and_crashes() {
    check_stream(Client::Sync, false);
}

#[test]
fn heavy_no_message_is_lost_on_websocket_over_restarts_and_crashes() {
    check_stream(Client::Async, true);
}

#[test]
fn no_message_is_lost_over_token_renewals() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device =
        Device::with_identity(&service.create_device("dev1")).option("sastoken_ttl", 124).start(&hub);
    device.listen_for_messages(true);
    let mut number = 0;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let connects = || hub.log().matches(" connected device=dev1").count();
    eventually("the token was renewed three times", Duration::from_secs(90), || {
        service.send("dev1", json!({}), number.to_string().as_bytes());
        number += 1;
        for message in device.messages() {
            *seen.entry(message.body_text()).or_default() += 1;
        }
        (connects() >= 4).then_some(())
    });
    eventually("all have arrived", Duration::from_secs(30), || {
        for message in device.messages() {
            *seen.entry(message.body_text()).or_default() += 1;
        }
        (seen.len() == number).then_some(())
    });
    let twice = seen.values().filter(|times| **times > 1).count();
    eprintln!("{number} messages, {twice} delivered twice");
    assert!(twice <= 3 * 16);
}
