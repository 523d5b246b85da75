//! Feedback on messages and notifications of files, which services receive over AMQP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ferrohub_acceptance::raw_amqp::RawAmqp;
use ferrohub_acceptance::{
    AmqpClient, Device, HttpsDevice, Hub, NodeClient, Service, Storage, eventually, sas,
};
use ferrohub_amqp::performative::{
    DeliveryState, Disposition, Flow, Modified, Performative, Rejected, Role, SenderSettleMode, Transfer,
};
use serde_json::{Value, json};

const FEEDBACK: &str = "/messages/serviceBound/feedback";
const FILES: &str = "/messages/serviceBound/filenotifications";
/// Batches need not wait to become full.
const AT_ONCE: &str = "[messages]\nfeedback_delay_seconds = 0\nmax_feedback_deliveries = 3";

fn token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
}

#[track_caller]
fn client(hub: &Hub) -> AmqpClient {
    let mut client = AmqpClient::connect(hub);
    assert_eq!(client.put_token(&token(hub)), 200);
    client
}

/// Sends a message that asks for feedback, and completes it.
#[track_caller]
fn complete_message(service: &Service, device: &HttpsDevice, id: &str) {
    service.send("dev1", json!({ "iothub-messageid": id, "iothub-ack": "full" }), b"");
    let (token, _) = device.receive().expect("a message");
    assert_eq!(device.complete(&token).status, 204);
}

/// Returns the ids of the messages of a batch.
fn ids(body: &Value) -> Vec<String> {
    let records = body.as_array().expect("an array of records");
    records.iter().map(|record| record["originalMessageId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn feedback_is_received_and_settled_as_the_service_decides() {
    let hub = Hub::builder().config(AT_ONCE).start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    let mut client = client(&hub);
    let link = client.attach_receiver(FEEDBACK).unwrap();
    complete_message(&service, &device, "1");
    let mut tags = HashSet::new();
    let modified = Modified { delivery_failed: Some(true), ..Modified::default() };
    for state in [DeliveryState::Released, DeliveryState::Modified(modified), DeliveryState::Accepted] {
        let item = client.next_item();
        assert_eq!(item.content_type, "application/vnd.microsoft.iothub.feedback.json");
        assert_eq!(
            (ids(&item.body), item.body[0]["statusCode"].as_str()),
            (vec!["1".to_owned()], Some("Success"))
        );
        // .NET reads the delivery tag as a GUID; each delivery has another lock token.
        assert!(item.tag.len() == 16 && tags.insert(item.tag.clone()), "{:?}", item.tag);
        client.settle(item, &state);
    }
    complete_message(&service, &device, "2");
    let item = client.next_item();
    assert_eq!(ids(&item.body), ["2"]);
    client.settle(item, &DeliveryState::Rejected(Rejected::default()));
    // Abandoned as often as it may be, and then gone.
    complete_message(&service, &device, "3");
    for _ in 0..3 {
        let item = client.next_item();
        assert_eq!(ids(&item.body), ["3"]);
        client.settle(item, &DeliveryState::Released);
    }
    complete_message(&service, &device, "4");
    assert_eq!(ids(&client.next_item().body), ["4"]);
    client.detach(link);
    let operations = |operation: &str| {
        let label = format!("operation=\"{operation}\",outcome=\"2xx\"");
        hub.metric("ferrohub_amqp_operations_total", &label)
    };
    assert_eq!(operations("receiveFeedback"), 8.0);
    assert_eq!((operations("completeFeedback"), operations("abandonFeedback")), (2.0, 5.0));
}

#[test]
fn feedback_that_a_client_leaves_unsettled_goes_to_the_next_one_at_once() {
    let hub = Hub::builder().config(AT_ONCE).start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    complete_message(&service, &device, "1");
    // More often than the feedback may be abandoned: a lost receiver has not abandoned it.
    for round in 0..6 {
        let mut client = client(&hub);
        let link = client.attach_receiver(FEEDBACK).unwrap();
        assert_eq!(ids(&client.next_item().body), ["1"], "{round}");
        if round % 2 == 0 {
            client.detach(link);
        }
    }
}

#[test]
fn one_receiver_of_many_gets_each_batch() {
    let hub = Hub::builder().config(AT_ONCE).start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    let mut clients: Vec<_> = (0..3).map(|_| client(&hub)).collect();
    for client in &mut clients {
        client.attach_receiver(FEEDBACK).unwrap();
        client.attach_receiver("messages/servicebound/feedback/").unwrap();
    }
    for number in 0..5 {
        complete_message(&service, &device, &number.to_string());
    }
    // Nobody settles, so each record is received once; whoever detaches gives back what it has.
    drop(clients.drain(1..));
    let mut left = clients.remove(0);
    let mut received = HashSet::new();
    while received.len() < 5 {
        for id in ids(&left.next_item().body) {
            assert!(received.insert(id));
        }
    }
}

#[test]
fn a_lock_that_expires_is_given_to_another_delivery_and_the_client_learns_it() {
    let settings = format!("{AT_ONCE}\nfeedback_lock_seconds = 5");
    let hub = Hub::builder().config(&settings).start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    complete_message(&service, &device, "1");
    let mut peer = RawAmqp::open(&hub);
    peer.put_token(&token(&hub));
    peer.send(0, RawAmqp::receiver_frame("feedback", 2, FEEDBACK));
    let _ = peer.expect("amqp:attach:list");
    peer.send(0, RawAmqp::credit_frame(2, 10));
    let delivery = |peer: &mut RawAmqp| {
        let frame = peer.expect("amqp:transfer:list");
        let Performative::Transfer(Transfer { delivery_id, settled, .. }) = frame.performative() else {
            unreachable!()
        };
        assert_eq!(settled, Some(false));
        delivery_id.unwrap()
    };
    let first = delivery(&mut peer);
    let began = Instant::now();
    let second = delivery(&mut peer);
    assert!(began.elapsed() > Duration::from_secs(3), "the lock lasts");
    // As .NET does: the client waits until the hub has settled.
    let mut settle = |first| {
        let state = Some(DeliveryState::Accepted);
        peer.send(0, Disposition { role: Role::Receiver, first, state, ..Disposition::default() });
        let frame = peer.expect("amqp:disposition:list");
        let Performative::Disposition(disposition) = frame.performative() else { unreachable!() };
        assert!(disposition.settled && disposition.role == Role::Sender);
        match disposition.state.unwrap() {
            DeliveryState::Accepted => Ok(()),
            DeliveryState::Rejected(rejected) => Err(rejected.error.unwrap().condition.0.to_owned()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(settle(first), Err("com.microsoft:message-lock-lost".to_owned()));
    assert_eq!(settle(second), Ok(()));
    assert!(hub.log().contains("lock_lost"), "{}", hub.log());
}

#[test]
fn a_client_gets_no_more_than_its_credit_and_may_ask_for_what_there_is() {
    let hub =
        Hub::builder().config("[messages]\nfeedback_delay_seconds = 0\nfeedback_lock_seconds = 300").start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    let mut peer = RawAmqp::open(&hub);
    peer.put_token(&token(&hub));
    // Sent settled, as the client asks.
    let attach = RawAmqp::receiver_frame("feedback", 2, FEEDBACK);
    peer.send(
        0,
        ferrohub_amqp::performative::Attach { snd_settle_mode: Some(SenderSettleMode::Settled), ..attach },
    );
    let _ = peer.expect("amqp:attach:list");
    let flow = |peer: &mut RawAmqp, delivery_count, link_credit, drain| {
        let flow = RawAmqp::credit_frame(2, link_credit);
        peer.send(0, Flow { delivery_count: Some(delivery_count), drain, ..flow });
    };
    // Nothing is there.
    flow(&mut peer, 0, 5, true);
    let drained = |peer: &mut RawAmqp| {
        let frame = peer.expect("amqp:flow:list");
        let Performative::Flow(flow) = frame.performative() else { unreachable!() };
        (flow.delivery_count.unwrap(), flow.link_credit.unwrap())
    };
    assert_eq!(drained(&mut peer), (5, 0));
    complete_message(&service, &device, "1");
    // Without credit nothing is sent; with a drain, what there is.
    flow(&mut peer, 5, 5, true);
    let frame = peer.expect("amqp:transfer:list");
    assert!(matches!(frame.performative(), Performative::Transfer(Transfer { settled: Some(true), .. })));
    assert_eq!(drained(&mut peer), (10, 0));
    // It is completed: nobody else gets it.
    complete_message(&service, &device, "2");
    let mut other = client(&hub);
    other.attach_receiver(FEEDBACK).unwrap();
    assert_eq!(ids(&other.next_item().body), ["2"]);
}

#[test]
fn receivers_need_the_right_and_lose_their_links_with_it() {
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    let hub = Hub::builder()
        .config(&format!(
            "[[policy]]\nname = \"reader\"\nrights = [\"RegistryRead\"]\nprimary_key = \"{key}\"\n\
             secondary_key = \"{key}\"\n{AT_ONCE}"
        ))
        .start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    let reader =
        sas::Token { resource: hub.name(), key, expiry: sas::now() + 60, policy: Some("reader") }.sign();
    let mut client = AmqpClient::connect(&hub);
    for address in [FEEDBACK, FILES] {
        let refused = client.attach_receiver(address).unwrap_err();
        assert_eq!(refused.condition, "amqp:unauthorized-access", "before a token");
    }
    assert_eq!(client.put_token(&reader), 200);
    for address in [FEEDBACK, FILES] {
        assert_eq!(client.attach_receiver(address).unwrap_err().condition, "amqp:unauthorized-access");
        assert_eq!(
            client.attach_sender(address).unwrap_err().condition,
            "amqp:not-found",
            "the other direction"
        );
    }
    assert_eq!(client.put_token(&token(&hub)), 200);
    client.attach_receiver(FEEDBACK).unwrap();
    client.attach_receiver(FILES).unwrap();
    complete_message(&service, &device, "1");
    let item = client.next_item();
    hub.command(["policy", "regenerate-key", "service", "--key", "primary"]).success();
    for _ in 0..2 {
        assert_eq!(client.next_detach().condition, "amqp:unauthorized-access");
    }
    // What it has not settled goes to others, and it gets nothing new.
    let mut other = AmqpClient::connect(&hub);
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    assert_eq!(other.put_token(&owner), 200);
    other.attach_receiver(FEEDBACK).unwrap();
    assert_eq!(other.next_item().body, item.body);
}

#[test]
fn an_injected_fault_refuses_a_receiver() {
    let hub = Hub::builder().config("[faults]\nenabled = true").start();
    let service = Service::owner(&hub);
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let fault = json!({ "kind": "refuseRequest", "operation": "receiveFeedback", "durationSeconds": 60, "count": 1,
        "error": "ServiceUnavailable" });
    assert_eq!(service.http("POST", "/ferrohub/faults", Some(&owner), Some(&fault.to_string())).status, 200);
    let mut client = client(&hub);
    assert_eq!(client.attach_receiver(FEEDBACK).unwrap_err().condition, "com.microsoft:timeout");
    client.attach_receiver(FEEDBACK).unwrap();
}

#[track_caller]
fn upload(device: &Device, storage: &Storage, name: &str) {
    let info = device.storage_info(name).unwrap();
    storage.upload(&info.url(), 100, 1).unwrap();
    device.notify_upload(&info.correlation_id, true).unwrap();
}

#[test]
fn file_notifications_are_received_and_settled() {
    let settings = "[files]\nnotifications = true\nnotification_lock_seconds = 5";
    let mut hub = Hub::builder().config(settings).start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&identity).start(&hub);
    let mut client = client(&hub);
    client.attach_receiver(FILES).unwrap();
    for (name, state) in [
        ("a", DeliveryState::Accepted),
        ("b", DeliveryState::Released),
        ("b", DeliveryState::Rejected(Rejected::default())),
    ] {
        if state != DeliveryState::Rejected(Rejected::default()) {
            upload(&device, &storage, name);
        }
        let item = client.next_item();
        assert_eq!(item.content_type, "application/vnd.microsoft.iothub.filenotification.json");
        assert_eq!(item.body["blobName"], format!("dev1/{name}"));
        assert_eq!(item.tag.len(), 16);
        client.settle(item, &state);
    }
    // A lock that expires, also one of a hub that has crashed.
    upload(&device, &storage, "c");
    for _ in 0..2 {
        assert_eq!(client.next_item().body["blobName"], "dev1/c");
    }
    drop(client);
    hub.kill();
    hub.start_again();
    let mut client = self::client(&hub);
    client.attach_receiver(FILES).unwrap();
    assert_eq!(client.next_item().body["blobName"], "dev1/c");
}

#[test]
fn a_node_service_receives_feedback_and_file_notifications() {
    let settings = format!("{AT_ONCE}\n[files]\nnotifications = true");
    let hub = Hub::builder().config(&settings).start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let device = HttpsDevice::new(&service, &identity);
    let files = Device::with_identity(&identity).start(&hub);
    let storage = Storage::start(&hub);
    let mut settled = 0.0;
    for transport in ["amqp", "amqp_ws"] {
        let node = NodeClient::service_over(&hub, transport);
        node.ok("receive", &json!({ "kind": "feedback", "settle": ["abandon", "complete", "reject"] }));
        node.ok("receive", &json!({ "kind": "files", "settle": ["abandon", "complete"] }));
        complete_message(&service, &device, "one");
        for word in ["abandon", "complete"] {
            let received = node.event("feedback", |event| event["word"] == word);
            assert_eq!(ids(&received["body"]), ["one"], "{transport}");
            assert_eq!(received["contentType"], "application/vnd.microsoft.iothub.feedback.json");
            let _ = node.event("settled", |event| event["word"] == word);
        }
        complete_message(&service, &device, "two");
        let received = node.event("feedback", |event| event["word"] == "reject");
        assert_eq!(ids(&received["body"]), ["two"]);
        upload(&files, &storage, transport);
        for word in ["abandon", "complete"] {
            let received = node.event("files", |event| event["word"] == word);
            assert_eq!(received["body"]["blobName"], format!("dev1/{transport}"));
        }
        // Sending goes on over the same connection.
        node.ok("send_message", &json!({ "device_id": "dev1", "body": "x", "message": { "ack": "full" } }));
        let (token, message) = device.receive().expect("a message");
        assert_eq!(message.body, "x");
        assert_eq!(device.complete(&token).status, 204);
        let _ = node.event("feedback", |event| event["body"][0]["originalMessageId"] != "two");
        settled += 3.0;
        eventually("all feedback is settled", Duration::from_secs(10), || {
            let label = "operation=\"completeFeedback\",outcome=\"2xx\"";
            (hub.metric("ferrohub_amqp_operations_total", label) == settled).then_some(())
        });
    }
}

/// With TLS, in a debug build.
const IDLE_LIMIT_KIB: u64 = 16;

#[test]
fn an_idle_connection_with_three_links_needs_little_memory() {
    const CONNECTIONS: usize = 200;
    let hub = Hub::start();
    let token = token(&hub);
    let connect = || {
        let mut client = AmqpClient::connect(&hub);
        assert_eq!(client.put_token(&token), 200);
        client.attach_sender("/messages/devicebound").unwrap();
        client.attach_receiver(FEEDBACK).unwrap();
        client.attach_receiver(FILES).unwrap();
        client
    };
    // The first ones initialize what all connections share.
    let _first: Vec<_> = (0..20).map(|_| connect()).collect();
    let before = hub.resident_kib();
    let _clients: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
    let grown = hub.resident_kib().saturating_sub(before) / CONNECTIONS as u64;
    eprintln!("{grown} KiB per connection");
    assert!(grown <= IDLE_LIMIT_KIB, "{grown} KiB");
}
