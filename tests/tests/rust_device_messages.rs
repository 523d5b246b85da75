//! Events and messages with our own device SDK, over both transports, and over restarts and crashes of the hub.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::{Duration, SystemTime};

use ferrohub_acceptance::{Events, Hub, Identity, Service};
use ferrohub_device::{
    Builder, DeviceClient, ErrorKind, Event, Message, MessageStream, OfflinePolicy, RetryPolicy, Transport,
};
use serde_json::{Value, json};

fn builder(hub: &Hub, identity: &Identity) -> Builder {
    DeviceClient::builder_from_connection_string(&identity.connection_string())
        .unwrap()
        .root_certificates_only(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        // A restart of the hub takes little time.
        .retry(RetryPolicy::default().max_delay(Duration::from_millis(500)))
}

async fn sent(client: &DeviceClient, event: Event) {
    tokio::time::timeout(Duration::from_secs(30), client.send_event(event)).await.expect("in time").unwrap();
}

async fn next(messages: &mut MessageStream) -> Message {
    let message = tokio::time::timeout(Duration::from_secs(30), messages.next()).await;
    message.expect("a message in time").expect("a message")
}

/// Waits until the device has acknowledged all of its messages.
async fn until_empty(service: &Service, device_id: &str) {
    for _ in 0..300 {
        let device = service.call("get_device", &json!({ "device_id": device_id })).unwrap();
        if device["cloudToDeviceMessageCount"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("messages are left in the queue of {device_id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_unchanged_over_both_transports() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    for (id, transport) in [("d+1", Transport::Mqtt), ("d#2", Transport::MqttWebSocket)] {
        let identity = service.create_device(id);
        let client = builder(&hub, &identity).transport(transport).build().unwrap();
        client.connect().await.unwrap();
        let event = Event::json(&json!({ "temperature": 21.5, "where": "Küche" }))
            .unwrap()
            .message_id("m 1/ä")
            .correlation_id("c&1=2")
            .user_id("u+1")
            .creation_time(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
            .property("a&b=c/d+e%f é", "1&2=3/4+5%6 ü")
            .property("empty", "");
        sent(&client, event).await;
        sent(&client, Event::new(&b"\xff\x00\x80"[..]).at_most_once()).await;
        sent(&client, Event::new(vec![b'x'; 256 * 1024])).await;
        client.disconnect().await;
        let sent = events.wait_for(3, |event| event.device() == id);
        let sent: Vec<_> = sent.iter().filter(|event| event.device() == id).collect();
        assert_eq!(sent[0].json(), json!({ "temperature": 21.5, "where": "Küche" }));
        for (name, value) in [
            ("message-id", "m 1/ä"),
            ("correlation-id", "c&1=2"),
            ("user-id", "u+1"),
            ("content-type", "application/json"),
            ("content-encoding", "utf-8"),
            ("iothub-creation-time-utc", "2023-11-14T22:13:20.123Z"),
        ] {
            assert_eq!(sent[0].system(name), value, "{name}");
        }
        assert_eq!(*sent[0].properties(), json!({ "a&b=c/d+e%f é": "1&2=3/4+5%6 ü", "empty": "" }));
        assert_eq!((sent[1].bytes(), sent[2].bytes().len()), (b"\xff\x00\x80".to_vec(), 256 * 1024));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_sends_through_outputs_and_receives_at_inputs() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("d");
    let module = builder(&hub, &service.create_module("d", "m")).build().unwrap();
    let mut messages = module.messages();
    module.connect().await.unwrap();
    module.send_event(Event::text("x").output("out/1")).await.unwrap();
    let events = Events::new(&hub, &service);
    let sent = events.wait_for(1, |event| event.device() == "d");
    assert_eq!(sent[0].system("iothub-outputname"), "out/1");
    assert_eq!(sent[0].system("iothub-connection-module-id"), "m");
    let address = "/devices/d/modules/m/inputs/in 1";
    let answer = service.try_send(address, json!({ "iothub-app-a": "b" }), b"hello");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let message = next(&mut messages).await;
    assert_eq!(
        (message.input(), message.property("a"), message.body()),
        (Some("in 1"), Some("b"), &b"hello"[..])
    );
    message.complete().unwrap();
}

/// Sends events while the hub restarts and crashes and while tokens are renewed.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_over_restarts_and_token_renewals() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d");
    let client = builder(&hub, &identity).token_ttl(Duration::from_secs(3)).build().unwrap();
    client.connect().await.unwrap();
    let sender = tokio::spawn({
        let client = client.clone();
        async move {
            for round in 0..100_u32 {
                let events = (0..5).map(|number| Event::text((round * 5 + number).to_string()));
                client.send_events(events).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    hub.restart();
    tokio::time::sleep(Duration::from_secs(2)).await;
    hub.kill();
    hub.start_again();
    sender.await.unwrap();
    client.disconnect().await;
    let events = Events::new(&hub, &service).wait_for(500, |event| event.device() == "d");
    let mut bodies: Vec<u32> = events.iter().map(|event| event.body().parse().unwrap()).collect();
    bodies.dedup();
    let mut sorted = bodies.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, (0..500).collect::<Vec<_>>());
    assert!(events.len() < 600, "{} events: acknowledged events are not sent again", events.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_events_wait_or_fail_by_policy() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let waits = builder(&hub, &service.create_device("waits")).build().unwrap();
    let fails = builder(&hub, &service.create_device("fails")).offline(OfflinePolicy::Fail).build().unwrap();
    waits.connect().await.unwrap();
    fails.connect().await.unwrap();
    assert!(hub.stop().success());
    for client in [&waits, &fails] {
        client.status().wait_for(|status| !status.is_connected()).await.unwrap();
    }
    let waiting = tokio::spawn({
        let client = waits.clone();
        async move { client.send_event(Event::text("patient")).await }
    });
    let refused = fails.send_event(Event::text("impatient")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Offline);
    hub.start_again();
    waiting.await.unwrap().unwrap();
    let sent = Events::new(&hub, &service).wait_for(1, |event| event.device() == "waits");
    assert!(sent.iter().all(|event| event.device() != "fails"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_completed_by_the_application_over_both_transports() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for (id, transport) in [("d:1", Transport::Mqtt), ("d:2", Transport::MqttWebSocket)] {
        let identity = service.create_device(id);
        let headers = json!({
            "iothub-messageid": "m/1 &=",
            "iothub-correlationid": "c",
            "iothub-contenttype": "application/json",
            "iothub-app-colour": "red/green & 100% +#",
        });
        // The message is queued for the device.
        service.send(id, headers, b"{\"n\":1}");
        let client = builder(&hub, &identity).transport(transport).build().unwrap();
        let mut messages = client.messages();
        client.connect().await.unwrap();
        let message = next(&mut messages).await;
        assert_eq!((message.message_id(), message.correlation_id()), (Some("m/1 &="), Some("c")));
        assert_eq!(message.property("colour"), Some("red/green & 100% +#"));
        assert_eq!(message.json::<Value>().unwrap(), json!({ "n": 1 }));
        // The message is not completed, so the next connection receives it again.
        drop((message, messages));
        client.disconnect().await;

        let client = builder(&hub, &identity).transport(transport).build().unwrap();
        let mut messages = client.messages();
        client.connect().await.unwrap();
        let message = next(&mut messages).await;
        assert_eq!(message.message_id(), Some("m/1 &="));
        message.complete().unwrap();
        client.disconnect().await;
        until_empty(&service, id).await;
    }
}

/// The application completes messages after its token was renewed and after a restart of the hub.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_be_completed_after_its_connection_ended() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d");
    let client = builder(&hub, &identity).token_ttl(Duration::from_secs(4)).build().unwrap();
    let mut messages = client.messages();
    client.connect().await.unwrap();
    for number in 0..3 {
        service.send("d", json!({ "iothub-messageid": number.to_string() }), b"x");
    }
    let (zero, one) = (next(&mut messages).await, next(&mut messages).await);
    // The second and third connections.
    tokio::time::sleep(Duration::from_secs(8)).await;
    zero.complete().unwrap();
    hub.restart();
    client.status().wait_for(ferrohub_device::ConnectionStatus::is_connected).await.unwrap();
    one.complete().unwrap();
    let two = next(&mut messages).await;
    assert_eq!(two.message_id(), Some("2"), "a message that the application has is not delivered again");
    two.complete().unwrap();
    until_empty(&service, "d").await;
    client.disconnect().await;
}
