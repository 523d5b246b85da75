//! Connections of AMQP clients: credentials, links, limits and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::raw_tls::RawTls;
use ferrohub_acceptance::sas::{self, Token};
use ferrohub_acceptance::{
    AmqpClient, Device, EventsLink, HttpsDevice, Hub, ManualAckDevice, Service, eventually,
};
use ferrohub_amqp::performative::DeliveryState;
use serde_json::json;

const MESSAGES: &str = "/messages/devicebound";
const TO: &str = "/devices/dev1/messages/devicebound";
const UNAUTHORIZED: &str = "amqp:unauthorized-access";

/// A token of the policy `service` for this hub.
fn token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
}

/// A token of the policy `service` that is valid for some seconds.
fn short_token(hub: &Hub, seconds: i64) -> String {
    let connection_string = hub.variable("IOTHUB_SERVICE_CONNECTION_STRING");
    let (_, key) = connection_string.split_once("SharedAccessKey=").unwrap();
    let expiry = sas::now() + seconds;
    Token { resource: hub.name(), key, expiry, policy: Some("service") }.sign()
}

#[test]
fn a_client_without_a_sasl_layer_sends_messages_after_its_token() {
    let hub = Hub::start();
    let device = Device::with_identity(&Service::owner(&hub).create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    for number in 0..250 {
        client.send(link, TO, format!("{number}").as_bytes()).unwrap();
        if number % 50 == 0 {
            assert_eq!(client.put_token(&token(&hub)), 200, "renewal on the same links");
        }
        assert_eq!(device.next_message().body_text(), number.to_string());
    }
}

#[test]
fn frames_arrive_one_byte_at_a_time() {
    let hub = Hub::start();
    let device = Device::with_identity(&Service::owner(&hub).create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    let mut client = AmqpClient::connect_slowly(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    client.send(link, TO, b"slow").unwrap();
    assert_eq!(device.next_message().body_text(), "slow");
}

#[test]
fn sasl_plain_proves_the_policy() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let response = |user: &str, token: &str| format!("\0{user}\0{token}").into_bytes();
    let right = response("service@sas.root.hub", &token(&hub));
    let mut client = AmqpClient::with_sasl(&hub, "PLAIN", &right).expect("the hub accepts the token");
    let link = client.attach_sender(MESSAGES).unwrap();
    client.send(link, TO, b"plain").unwrap();
    for (user, token) in [
        ("iothubowner@sas.root.hub", token(&hub)),
        ("service", token(&hub)),
        ("service@sas.root.hub", short_token(&hub, -1)),
        ("service@sas.root.hub", "x".to_owned()),
        ("service@sas.root.hub", String::new()),
    ] {
        let refused = AmqpClient::with_sasl(&hub, "PLAIN", &response(user, &token)).is_none();
        assert!(refused, "{user} {token}");
    }
    assert!(AmqpClient::with_sasl(&hub, "PLAIN", b"").is_none());
    for mechanism in ["ANONYMOUS", "EXTERNAL", "MSSBCBS"] {
        let mut client = AmqpClient::with_sasl(&hub, mechanism, b"").expect("a token follows");
        assert_eq!(client.attach_sender(MESSAGES).unwrap_err().condition, UNAUTHORIZED, "{mechanism}");
    }
    assert!(hub.log().contains("link_before_token"), "{}", hub.log());
}

#[test]
fn only_valid_tokens_of_policies_are_accepted() {
    let hub = Hub::start();
    let device = Service::owner(&hub).create_device("dev1");
    let resource = format!("{}/devices/dev1", hub.name());
    let of_device =
        Token { resource: &resource, key: &device.primary_key, expiry: sas::now() + 60, policy: None };
    let mut client = AmqpClient::connect(&hub);
    for bad in
        [short_token(&hub, -1), of_device.sign(), "Bearer a.b.c".to_owned(), "x".to_owned(), String::new()]
    {
        assert_eq!(client.put_token(&bad), 401, "{bad}");
        assert_eq!(client.attach_sender(MESSAGES).unwrap_err().condition, UNAUTHORIZED);
    }
    assert_eq!(client.put_token(&token(&hub)), 200);
    client.attach_sender(MESSAGES).unwrap();
    assert_eq!(hub.metric("ferrohub_unauthorized_total", "\"expired\""), 1.0);
}

#[test]
fn an_address_that_the_hub_does_not_have_is_refused() {
    let hub = Hub::start();
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    for address in ["/messages/other", "", "/devices/dev1/messages/events"] {
        let refused = client.attach_sender(address).unwrap_err();
        assert_eq!(refused.condition, "amqp:not-found", "{address}");
        assert!(refused.description.contains("did not match any of the expected formats"), "{refused:?}");
    }
    client.attach_sender(MESSAGES).unwrap();
    assert_eq!(hub.metric("ferrohub_refused_links_total", "unknown_address"), 3.0);
}

#[test]
fn a_policy_without_service_connect_gets_no_link() {
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    let hub = Hub::builder()
        .config(&format!(
            "[[policy]]\nname = \"reader\"\nrights = [\"RegistryRead\"]\nprimary_key = \"{key}\"\n\
             secondary_key = \"{key}\""
        ))
        .start();
    let reader = Token { resource: hub.name(), key, expiry: sas::now() + 60, policy: Some("reader") };
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&reader.sign()), 200);
    assert_eq!(client.attach_sender(MESSAGES).unwrap_err().condition, UNAUTHORIZED);
}

#[test]
fn a_client_whose_token_expires_loses_one_link_and_then_the_connection() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&short_token(&hub, 3)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    client.send(link, TO, b"valid").unwrap();
    let reason = client.next_detach();
    assert_eq!((reason.condition.as_str(), reason.description.as_str()), (UNAUTHORIZED, "Token Invalid."));
    assert_eq!(client.attach_sender(MESSAGES).unwrap_err().condition, UNAUTHORIZED);
    assert_eq!(client.next_event_or_end(), None, "the hub ends the transport without a close");
    assert!(hub.log().contains("credential_ended"), "{}", hub.log());
}

#[test]
fn a_client_that_renews_its_token_keeps_its_links() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&short_token(&hub, 3)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    assert_eq!(client.put_token(&token(&hub)), 200);
    // The first token has expired.
    std::thread::sleep(Duration::from_secs(4));
    client.send(link, TO, b"renewed").unwrap();
}

#[test]
fn a_client_that_renews_its_token_after_the_expiry_keeps_its_other_links() {
    let hub = Hub::builder().config("[messages]\nfeedback_delay_seconds = 0").start();
    let service = Service::owner(&hub);
    let device = HttpsDevice::new(&service, &service.create_device("dev1"));
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&short_token(&hub, 3)), 200);
    client.attach_sender(MESSAGES).unwrap();
    let sender = client.attach_sender("/messages/deviceBound").unwrap();
    client.attach_receiver("/messages/serviceBound/feedback").unwrap();
    client.attach_events(&hub, &EventsLink::default()).unwrap();
    assert_eq!(client.next_detach().condition, UNAUTHORIZED, "one link tells the client of the expiry");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(client.put_token(&token(&hub)), 200);
    // Its reader has ended with the token. The client must learn that it gets no events.
    assert_eq!(client.next_detach().condition, UNAUTHORIZED, "the link for events");
    client.send(sender, TO, b"renewed").unwrap();
    let (lock, _) = device.receive().expect("a message");
    assert_eq!(device.complete(&lock).status, 204);
    service.send("dev1", json!({ "iothub-messageid": "1", "iothub-ack": "full" }), b"");
    let (lock, _) = device.receive().expect("a message");
    assert_eq!(device.complete(&lock).status, 204);
    let item = client.next_item();
    assert_eq!(item.body[0]["originalMessageId"], "1");
    client.settle(item, &DeliveryState::Accepted);
    client.attach_events(&hub, &EventsLink::default()).unwrap();
    // The time for a renewal is over; the connection stays.
    std::thread::sleep(Duration::from_secs(4));
    client.send(sender, TO, b"again").unwrap();
}

#[test]
fn a_message_that_cannot_be_sent_is_rejected_with_its_reason() {
    let hub = Hub::builder().config("[messages]\nqueue_length = 2").start();
    let _ = Service::owner(&hub).create_device("dev1");
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    for (to, size, condition, code) in [
        ("/devices/none/messages/devicebound", 1, "amqp:not-found", "404001"),
        ("/devices/dev1", 1, "com.microsoft:argument-error", "400003"),
        (TO, 100 * 1024, "amqp:link:message-size-exceeded", "413001"),
    ] {
        let refused = client.send(link, to, &vec![b'x'; size]).unwrap_err();
        assert_eq!(refused.condition, condition);
        assert!(refused.description.contains(code), "{refused:?}");
    }
    client.send(link, TO, b"1").unwrap();
    client.send(link, TO, b"2").unwrap();
    assert_eq!(client.send(link, TO, b"3").unwrap_err().condition, "amqp:resource-limit-exceeded");
    let log = hub.log();
    for reason in ["unknown_identity", "no_target", "too_large", "queue_full"] {
        assert!(log.contains(&format!("operation failed reason=\"{reason}\"")), "{reason}: {log}");
    }
    // No message but a section that does not exist.
    let _ = client.send_encoded(link, b"\x00\x53\x01\x40");
    let event = format!("{:?}", client.next_event());
    assert!(event.contains("argument-error"), "{event}");
}

#[test]
fn a_message_above_the_largest_size_detaches_the_link_only() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    let refused = client.send(link, TO, &vec![0; 1024 * 1024 + 1]).unwrap_err();
    assert_eq!(refused.condition, "amqp:link:message-size-exceeded");
    let link = client.attach_sender("/messages/deviceBound/").unwrap();
    client.send(link, TO, b"again").unwrap();
}

#[test]
fn a_client_that_does_not_authenticate_in_time_is_disconnected() {
    let hub = Hub::builder().config("[limits]\nconnect_timeout_seconds = 1").start();
    assert_eq!(RawTls::amqp(&hub).read_to_end(), b"");
    // Open, but without a token.
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.next_event_or_end(), None);
    assert_eq!(hub.metric("ferrohub_rejected_sockets_total", "amqp_handshake_timeout"), 2.0);
    assert!(hub.log().contains("amqp_handshake_timeout"), "{}", hub.log());
    // A client with a token may be silent.
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    std::thread::sleep(Duration::from_secs(2));
    client.attach_sender(MESSAGES).unwrap();
}

#[test]
fn what_is_not_amqp_is_refused_with_a_reason() {
    let hub = Hub::start();
    let mut peer = RawTls::amqp(&hub);
    peer.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(peer.read_to_end(), b"AMQP\x03\x01\x00\x00", "the header that the hub supports");
    let mut peer = RawTls::amqp(&hub);
    peer.send(b"AMQP\x00\x01\x00\x00\x00\x00\x00\x07\x02\x00\x00\x00");
    peer.read_to_end();
    let mut peer = RawTls::amqp(&hub);
    peer.shutdown();
    peer.read_to_end();
    for reason in ["amqp_header", "amqp_protocol_error", "closed_before_token"] {
        eventually(reason, Duration::from_secs(10), || {
            (hub.metric("ferrohub_rejected_sockets_total", reason) == 1.0).then_some(())
        });
    }
    let log = hub.log();
    assert!(log.contains("use a client for AMQP 1.0") && log.contains("protocol=\"amqp\""), "{log}");
}

#[test]
fn a_hub_that_stops_ends_amqp_connections() {
    let mut hub = Hub::start();
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    assert!(hub.stop().success());
    assert_eq!(client.next_event_or_end(), None);
}

#[test]
fn a_policy_with_a_new_key_ends_its_links() {
    let hub = Hub::start();
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    client.attach_sender(MESSAGES).unwrap();
    hub.command(["policy", "regenerate-key", "service", "--key", "primary"]).success();
    assert_eq!(client.next_detach().condition, UNAUTHORIZED);
}

#[test]
fn answers_to_tokens_wait_for_a_link_but_not_without_end() {
    let hub = Hub::start();
    let mut client = AmqpClient::connect(&hub);
    let link = client.attach_sender("$cbs").unwrap();
    for _ in 0..16 {
        client.put_token_only(link, &token(&hub)).unwrap();
    }
    let refused = client.put_token_only(link, &token(&hub)).unwrap_err();
    assert_eq!(refused.condition, "amqp:resource-limit-exceeded");
    // The tokens were valid, although nobody has read the answers.
    client.attach_sender(MESSAGES).unwrap();
}

#[test]
fn accepted_messages_survive_a_crash_in_their_order() {
    let mut hub = Hub::start();
    let identity = Service::owner(&hub).create_device("dev1");
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    for number in 0..40 {
        client.send(link, TO, number.to_string().as_bytes()).unwrap();
    }
    hub.kill();
    hub.start_again();
    // Unlike Microsoft's client, this one reports messages in the order of their arrival.
    let device = ManualAckDevice::start(&hub, &identity, true);
    device.connect();
    device.subscribe("devices/dev1/messages/devicebound/#", 1);
    for number in 0..40 {
        let delivery = device.next();
        assert_eq!(delivery.body, number.to_string());
        device.acknowledge(&delivery);
    }
}

#[test]
fn a_connection_has_a_caller_for_each_token_and_its_links_end_with_it() {
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    let hub = Hub::builder()
        .config(&format!(
            "[[policy]]\nname = \"reader\"\nrights = [\"RegistryRead\"]\nprimary_key = \"{key}\"\n\
             secondary_key = \"{key}\"\n[[policy]]\nname = \"other\"\nrights = [\"ServiceConnect\"]\n\
             primary_key = \"{key}\"\nsecondary_key = \"{key}\""
        ))
        .start();
    let _ = Service::owner(&hub).create_device("dev1");
    let of = |policy: &'static str, seconds: i64| {
        Token { resource: hub.name(), key, expiry: sas::now() + seconds, policy: Some(policy) }.sign()
    };
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&of("other", 4)), 200);
    let short = client.attach_sender(MESSAGES).unwrap();
    assert_eq!(client.put_token(&token(&hub)), 200);
    let long = client.attach_sender("/messages/deviceBound").unwrap();
    // The latest token has no right; the link belongs to an earlier one that has it.
    assert_eq!(client.put_token(&of("reader", 60)), 200);
    let longer = client.attach_sender("/messages/devicebound/").unwrap();
    client.send(short, TO, b"1").unwrap();
    assert_eq!(client.next_detach().condition, UNAUTHORIZED, "the token of `other` expires");
    client.send(long, TO, b"2").unwrap();
    client.send(longer, TO, b"3").unwrap();
    hub.command(["policy", "regenerate-key", "service", "--key", "primary"]).success();
    for _ in 0..2 {
        assert_eq!(client.next_detach().condition, UNAUTHORIZED);
    }
    // The connection stays: `reader` is still valid.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(client.put_token(&of("other", 60)), 200);
    let again = client.attach_sender(MESSAGES).unwrap();
    client.send(again, TO, b"4").unwrap();
}

#[test]
fn links_of_a_caller_that_is_gone_end_when_another_one_comes() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&short_token(&hub, 3)), 200);
    client.attach_sender(MESSAGES).unwrap();
    let second = client.attach_sender("/messages/deviceBound").unwrap();
    assert_eq!(client.next_detach().condition, UNAUTHORIZED);
    assert_eq!(client.send(second, TO, b"x").unwrap_err().condition, UNAUTHORIZED, "it is of no use");
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    assert_eq!(client.put_token(&owner), 200);
    assert_eq!(client.next_detach().condition, UNAUTHORIZED);
    let link = client.attach_sender(MESSAGES).unwrap();
    client.send(link, TO, b"x").unwrap();
}

#[test]
fn one_caller_has_a_limited_number_of_connections() {
    let hub = Hub::builder().config("[limits]\namqp_connections_per_caller = 2").start();
    let mut clients: Vec<_> = (0..2).map(|_| AmqpClient::connect(&hub)).collect();
    for client in &mut clients {
        assert_eq!(client.put_token(&token(&hub)), 200);
        assert_eq!(client.put_token(&token(&hub)), 200, "a new token is no new connection");
    }
    let mut third = AmqpClient::connect(&hub);
    assert_eq!(third.put_token(&token(&hub)), 429);
    assert_eq!(third.attach_sender(MESSAGES).unwrap_err().condition, UNAUTHORIZED);
    let response = format!("\0service@sas.root.hub\0{}", token(&hub)).into_bytes();
    assert!(AmqpClient::with_sasl(&hub, "PLAIN", &response).is_none());
    let log = hub.log();
    assert!(log.contains("too_many_connections") && log.contains("amqp_connections_per_caller"), "{log}");
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    assert_eq!(third.put_token(&owner), 200, "another policy");
    drop(clients.pop());
    eventually("a place is free", Duration::from_secs(10), || {
        (AmqpClient::connect(&hub).put_token(&token(&hub)) == 200).then_some(())
    });
}

#[test]
fn an_injected_fault_rejects_messages_to_the_device_that_it_names() {
    let hub = Hub::builder().config("[faults]\nenabled = true").start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let _ = service.create_device("other");
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let fault = "{\"kind\":\"refuseRequest\",\"operation\":\"sendMessage\",\"target\":\"dev*\",\
                 \"durationSeconds\":60,\"count\":1,\"error\":\"ThrottlingException\"}";
    assert_eq!(service.http("POST", "/ferrohub/faults", Some(&owner), Some(fault)).status, 200);
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    client.send(link, "/devices/other/messages/devicebound", b"x").unwrap();
    let refused = client.send(link, TO, b"x").unwrap_err();
    assert_eq!(refused.condition, "com.microsoft:device-container-throttled");
    client.send(link, TO, b"x").unwrap();
    let operations = |class: &str| {
        let label = format!("operation=\"sendMessage\",outcome=\"{class}\"");
        hub.metric("ferrohub_amqp_operations_total", &label)
    };
    assert_eq!((operations("2xx"), operations("4xx")), (2.0, 1.0));
}

#[test]
fn messages_in_flight_are_stored_in_their_order_and_each_has_its_outcome() {
    let hub = Hub::builder().config("[messages]\nqueue_length = 1000").start();
    let identity = Service::owner(&hub).create_device("dev1");
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    let link = client.attach_sender(MESSAGES).unwrap();
    let messages: Vec<_> = (0..300)
        .map(|number: u32| {
            let to = if number % 7 == 3 { "/devices/none/messages/devicebound" } else { TO };
            (to.to_owned(), number.to_string().into_bytes())
        })
        .collect();
    let outcomes = client.send_all(link, &messages, 64);
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(number % 7, 3),
            Err(refused) => assert_eq!((number % 7, refused.condition.as_str()), (3, "amqp:not-found")),
        }
    }
    let device = ManualAckDevice::start(&hub, &identity, true);
    device.connect();
    device.subscribe("devices/dev1/messages/devicebound/#", 1);
    for number in (0..300).filter(|number| number % 7 != 3) {
        let delivery = device.next();
        assert_eq!(delivery.body, number.to_string());
        device.acknowledge(&delivery);
    }
}

#[test]
fn silent_clients_do_not_lock_others_out() {
    let hub = Hub::builder().config("[limits]\nunauthenticated_connections = 4").start();
    let mut proven = AmqpClient::connect(&hub);
    assert_eq!(proven.put_token(&token(&hub)), 200);
    let mut silent: Vec<_> = (0..3).map(|_| RawTls::amqp(&hub)).collect();
    // Open, but without a token.
    let _opened = AmqpClient::connect(&hub);
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    assert_eq!(silent[0].read_to_end(), b"", "the oldest one is evicted");
    proven.attach_sender(MESSAGES).unwrap();
}
