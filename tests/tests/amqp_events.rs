//! Reading events over AMQP: positions, owner levels, rights and limits.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::sas::{self, Token};
use ferrohub_acceptance::{
    AmqpClient, EventSender, EventsLink, Hub, ManagementAnswer, ReceivedEvent, Service, eventually,
};
use ferrohub_amqp::Value;
use serde_json::json;

const UNAUTHORIZED: &str = "amqp:unauthorized-access";
const STOLEN: &str = "amqp:link:stolen";
const EVENT_HUB: (&str, &str) = ("type", "com.microsoft:eventhub");

/// One device has all of its events in one partition.
fn hub() -> Hub {
    Hub::builder().config("[events]\nconsumer_groups = [\"other\"]").start()
}

fn key(hub: &Hub, variable: &str) -> String {
    hub.variable(variable).split_once("SharedAccessKey=").unwrap().1.to_owned()
}

/// A token of the policy `service` for a resource.
fn token(hub: &Hub, resource: &str, seconds: i64) -> String {
    let key = key(hub, "IOTHUB_SERVICE_CONNECTION_STRING");
    Token { resource, key: &key, expiry: sas::now() + seconds, policy: Some("service") }.sign()
}

#[track_caller]
fn client(hub: &Hub) -> AmqpClient {
    let mut client = AmqpClient::connect(hub);
    assert_eq!(client.put_token(&token(hub, &format!("sb://{}/", hub.name()), 600)), 200);
    client
}

/// Sends events with the bodies 0, 1 and so on, and returns their partition.
#[track_caller]
fn send_events(hub: &Hub, service: &Service, count: usize) -> u16 {
    let sender = EventSender::with_devices(service, 1);
    for number in 0..count {
        sender.send(0, &number.to_string());
    }
    sender.partition_of(hub, 0).parse().unwrap()
}

fn event(number: i64) -> ReceivedEvent {
    ReceivedEvent { sequence: number, body: number.to_string() }
}

#[test]
fn a_reader_begins_where_its_filter_says() {
    let hub = hub();
    let partition = send_events(&hub, &Service::owner(&hub), 4);
    let mut client = client(&hub);
    for (filter, first) in [
        (None, 0),
        (Some("amqp.annotation.x-opt-offset > '-1'"), 0),
        (Some("amqp.annotation.x-opt-offset > '1'"), 2),
        (Some("amqp.annotation.x-opt-offset >= '1'"), 1),
        (Some("amqp.annotation.x-opt-sequence-number > 0"), 1),
        (Some("amqp.annotation.x-opt-sequence-number >= '3'"), 3),
        (Some("amqp.annotation.x-opt-enqueued-time > '0'"), 0),
        (Some("amqp.annotation.x-opt-enqueuedtimeutc >= 1700000000000"), 0),
    ] {
        let link = client.attach_events(&hub, &EventsLink { partition, filter, ..EventsLink::default() });
        let link = link.unwrap();
        for number in first..4 {
            assert_eq!(client.next_received_event(), event(number), "{filter:?}");
        }
        client.detach(link);
    }
    assert_eq!(hub.metric("ferrohub_amqp_events_total", ""), 25.0);
    let attached = "operation=\"readEvents\",outcome=\"2xx\"";
    assert_eq!(hub.metric("ferrohub_amqp_operations_total", attached), 8.0);
}

#[test]
fn a_reader_that_waits_is_woken_by_the_next_event() {
    let hub = hub();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 1);
    sender.send(0, "0");
    let partition = sender.partition_of(&hub, 0).parse().unwrap();
    let mut client = client(&hub);
    let filter = Some("amqp.annotation.x-opt-offset > '@latest'");
    client.attach_events(&hub, &EventsLink { partition, filter, ..EventsLink::default() }).unwrap();
    for number in 1..20 {
        sender.send(0, &number.to_string());
        assert_eq!(client.next_received_event(), event(number));
    }
}

#[test]
fn what_the_hub_does_not_understand_is_refused_with_a_reason() {
    let hub = hub();
    let partition = send_events(&hub, &Service::owner(&hub), 1);
    let mut client = client(&hub);
    let argument = "com.microsoft:argument-error";
    let link = || EventsLink { partition, ..EventsLink::default() };
    for (link, condition, text) in [
        (EventsLink { filter: Some("x > 1"), ..link() }, argument, "is not a comparison"),
        (
            EventsLink { filter: Some("amqp.annotation.x-opt-offset > '-5'"), ..link() },
            argument,
            "x-opt-offset",
        ),
        (
            EventsLink { filter: Some("amqp.annotation.x-opt-offset > '77'"), ..link() },
            argument,
            "after the end of partition",
        ),
        (EventsLink { epoch: Some(Value::Long(-1)), ..link() }, argument, "com.microsoft:epoch"),
        (EventsLink { epoch: Some(Value::String("x")), ..link() }, argument, "com.microsoft:epoch"),
        (EventsLink { group: "nobody", ..link() }, "amqp:not-found", "There is no consumer group nobody"),
        (EventsLink { partition: 4, ..link() }, "amqp:not-found", "There is no partition 4"),
        (
            EventsLink { partition: 4, filter: Some("amqp.annotation.x-opt-offset > '0'"), ..link() },
            "amqp:not-found",
            "There is no partition 4",
        ),
        (
            EventsLink { address: Some(format!("{}/Partitions/0", hub.name())), ..link() },
            "amqp:not-found",
            "did not match any of the expected formats",
        ),
        (
            EventsLink { address: Some("other/ConsumerGroups/$Default/Partitions/0".to_owned()), ..link() },
            "amqp:not-found",
            "did not match any of the expected formats",
        ),
    ] {
        let refused = client.attach_events(&hub, &link).unwrap_err();
        assert_eq!(refused.condition, condition, "{link:?} {refused:?}");
        assert!(refused.description.contains(text), "{link:?} {refused:?}");
    }
    // The connection still works.
    client.attach_events(&hub, &link()).unwrap();
    assert_eq!(client.next_received_event(), event(0));
}

#[test]
fn a_reader_with_an_owner_level_reads_alone() {
    let hub = hub();
    let partition = send_events(&hub, &Service::owner(&hub), 1);
    let link =
        |level: Option<i64>| EventsLink { partition, epoch: level.map(Value::Long), ..EventsLink::default() };
    let mut first = client(&hub);
    first.attach_events(&hub, &link(None)).unwrap();
    assert_eq!(first.next_received_event(), event(0));
    // Without credit it notices, too.
    first.attach_events(&hub, &EventsLink { credit: 0, ..link(None) }).unwrap();
    let mut second = client(&hub);
    second.attach_events(&hub, &link(Some(0))).unwrap();
    for _ in 0..2 {
        let reason = first.next_detach();
        assert_eq!(reason.condition, STOLEN);
        assert!(reason.description.contains("owner level 0"), "{reason:?}");
    }
    assert_eq!(second.next_received_event(), event(0));
    // The same level takes over; a lower one, and none, are refused.
    let mut third = client(&hub);
    third.attach_events(&hub, &link(Some(7))).unwrap();
    assert_eq!(second.next_detach().condition, STOLEN);
    assert_eq!(third.next_received_event(), event(0));
    second.attach_events(&hub, &link(Some(7))).unwrap();
    assert_eq!(third.next_detach().condition, STOLEN);
    for level in [None, Some(0), Some(6)] {
        let refused = third.attach_events(&hub, &link(level)).unwrap_err();
        assert_eq!(refused.condition, STOLEN, "{level:?}");
        assert!(refused.description.contains("owner level (epoch) 7"), "{refused:?}");
    }
    // Of another group, and after its end, others read.
    third.attach_events(&hub, &EventsLink { group: "other", ..link(None) }).unwrap();
    drop(second);
    eventually("the end of the owner", Duration::from_secs(10), || {
        third.attach_events(&hub, &link(None)).ok()
    });
}

#[test]
fn a_group_has_five_readers_of_a_partition() {
    let hub = hub();
    let mut client = client(&hub);
    let links: Vec<_> = (0..5).map(|_| client.attach_events(&hub, &EventsLink::default()).unwrap()).collect();
    let refused = client.attach_events(&hub, &EventsLink::default()).unwrap_err();
    assert_eq!(refused.condition, "amqp:resource-limit-exceeded");
    assert!(refused.description.contains("events.readers_per_group"), "{refused:?}");
    client.attach_events(&hub, &EventsLink { partition: 1, ..EventsLink::default() }).unwrap();
    assert_eq!(hub.metric("ferrohub_event_readers", ""), 6.0);
    client.detach(links[0]);
    client.attach_events(&hub, &EventsLink::default()).unwrap();
    drop(client);
    eventually("no reader", Duration::from_secs(10), || {
        (hub.metric("ferrohub_event_readers", "") == 0.0).then_some(())
    });
}

#[test]
fn a_token_covers_the_events_that_its_resource_names_and_nothing_else() {
    let hub = hub();
    let _ = send_events(&hub, &Service::owner(&hub), 1);
    let host = hub.name();
    let at = |group, partition| EventsLink { group, partition, ..EventsLink::default() };
    let all = [("$Default", 0), ("$Default", 1), ("other", 0)];
    for (resource, readable, management, sends) in [
        (host.to_owned(), &all[..], true, true),
        (format!("sb://{host}/{host}"), &all[..], true, false),
        (format!("amqps://{host}/messages/events"), &all[..], true, false),
        (format!("sb://{host}/{host}/$management"), &[][..], true, false),
        (format!("sb://{host}/{host}/consumergroups/$default"), &all[..2], false, false),
        (format!("sb://{host}/{host}/ConsumerGroups/$Default/Partitions/1"), &all[1..2], false, false),
    ] {
        let mut client = AmqpClient::connect(&hub);
        assert_eq!(client.put_token(&token(&hub, &resource, 600)), 200, "{resource}");
        for (group, partition) in all {
            let attached = client.attach_events(&hub, &at(group, partition));
            let expected = readable.contains(&(group, partition));
            assert_eq!(attached.is_ok(), expected, "{resource}: {group} {partition} {attached:?}");
            if let Err(refused) = attached {
                assert_eq!(refused.condition, UNAUTHORIZED, "{resource}");
            }
        }
        let link = client.attach_management();
        assert_eq!(link.is_ok(), management, "{resource} {link:?}");
        for address in ["/messages/devicebound", "/messages/serviceBound/feedback"] {
            let attached = match address.ends_with("feedback") {
                true => client.attach_receiver(address),
                false => client.attach_sender(address),
            };
            assert_eq!(attached.is_ok(), sends, "{resource} {address} {attached:?}");
        }
    }
    let foreign = [
        format!("sb://other/{host}"),
        format!("sb://{host}/other"),
        format!("sb://{host}/devices/dev0"),
        "other".to_owned(),
    ];
    for resource in foreign {
        let mut client = AmqpClient::connect(&hub);
        assert_eq!(client.put_token(&token(&hub, &resource, 600)), 401, "{resource}");
        assert_eq!(client.attach_events(&hub, &at("$Default", 0)).unwrap_err().condition, UNAUTHORIZED);
    }
    // Over HTTPS a token for events is none for the hub.
    let service = Service::owner(&hub);
    let narrow = token(&hub, &format!("sb://{host}/{host}"), 600);
    for path in ["/messages/events?position=start&wait=0", "/devices?api-version=2021-04-12"] {
        assert_eq!(service.http("GET", path, Some(&narrow), None).status, 401, "{path}");
    }
}

#[test]
fn a_token_for_events_is_signed_with_the_text_of_the_key_too_but_one_for_the_hub_is_not() {
    let hub = hub();
    let text = key(&hub, "IOTHUB_SERVICE_CONNECTION_STRING");
    // The helper decodes a key, so it is encoded once more.
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let sign = |resource: &str, expiry| {
        Token { resource, key: &encoded, expiry: sas::now() + expiry, policy: Some("service") }.sign()
    };
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&sign(hub.name(), 600)), 401);
    let events = format!("sb://{0}/{0}", hub.name());
    assert_eq!(client.put_token(&sign(&events, -1)), 401);
    assert_eq!(client.put_token(&sign(&events, 600)), 200);
    client.attach_events(&hub, &EventsLink::default()).unwrap();
}

#[test]
fn a_reader_needs_the_right_to_connect_as_a_service() {
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    let hub = Hub::builder()
        .config(&format!(
            "[[policy]]\nname = \"other\"\nrights = [\"RegistryRead\", \"DeviceConnect\"]\nprimary_key = \"{key}\"\n\
             secondary_key = \"{key}\""
        ))
        .with_development_issuer()
        .start();
    let resource = format!("sb://{0}/{0}", hub.name());
    let other = Token { resource: &resource, key, expiry: sas::now() + 60, policy: Some("other") };
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&other.sign()), 200);
    assert_eq!(client.attach_events(&hub, &EventsLink::default()).unwrap_err().condition, UNAUTHORIZED);
    assert_eq!(client.attach_management().unwrap_err().condition, UNAUTHORIZED);
    let redirect = client.attach_receiver("messages/events/").unwrap_err();
    assert_eq!(redirect.condition, UNAUTHORIZED, "{redirect:?}");
    assert_eq!(hub.metric("ferrohub_refused_links_total", "no_right"), 3.0);
}

#[test]
fn sasl_plain_with_a_key_reads_events_only() {
    let hub = hub();
    let partition = send_events(&hub, &Service::owner(&hub), 1);
    let key = key(&hub, "IOTHUB_SERVICE_CONNECTION_STRING");
    let response = |user: &str, key: &str| format!("\0{user}\0{key}").into_bytes();
    let mut client =
        AmqpClient::with_sasl(&hub, "PLAIN", &response("service", &key)).expect("the key is right");
    client.attach_events(&hub, &EventsLink { partition, ..EventsLink::default() }).unwrap();
    assert_eq!(client.next_received_event(), event(0));
    client.attach_management().unwrap();
    assert_eq!(client.attach_sender("/messages/devicebound").unwrap_err().condition, UNAUTHORIZED);
    let wrong = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for (user, key) in
        [("service", wrong), ("iothubowner", &*key), ("nobody", &key), ("service", "x"), ("", "")]
    {
        assert!(AmqpClient::with_sasl(&hub, "PLAIN", &response(user, key)).is_none(), "{user}");
    }
    assert!(!hub.log().contains(&key) && !hub.log().contains(wrong), "no key is logged");
}

#[test]
fn events_stop_when_the_token_expires_and_go_on_when_it_is_renewed() {
    let hub = hub();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 1);
    sender.send(0, "0");
    let partition = sender.partition_of(&hub, 0).parse().unwrap();
    let resource = format!("sb://{0}/{0}", hub.name());
    let link = EventsLink { partition, ..EventsLink::default() };
    let mut expiring = AmqpClient::connect(&hub);
    assert_eq!(expiring.put_token(&token(&hub, &resource, 3)), 200);
    expiring.attach_events(&hub, &link).unwrap();
    let mut renewed = AmqpClient::connect(&hub);
    assert_eq!(renewed.put_token(&token(&hub, &resource, 3)), 200);
    renewed.attach_events(&hub, &link).unwrap();
    assert_eq!(renewed.put_token(&token(&hub, &resource, 600)), 200);
    // A token for more of the hub takes the place of one that expires.
    let mut widened = AmqpClient::connect(&hub);
    assert_eq!(widened.put_token(&token(&hub, &format!("{resource}/consumergroups"), 3)), 200);
    widened.attach_events(&hub, &link).unwrap();
    assert_eq!(widened.put_token(&token(&hub, &resource, 600)), 200);
    for client in [&mut expiring, &mut renewed, &mut widened] {
        assert_eq!(client.next_received_event(), event(0));
    }
    let reason = expiring.next_detach();
    assert_eq!((reason.condition.as_str(), reason.description.as_str()), (UNAUTHORIZED, "Token Invalid."));
    std::thread::sleep(Duration::from_secs(1));
    sender.send(0, "1");
    for client in [&mut renewed, &mut widened] {
        assert_eq!(client.next_received_event(), event(1));
    }
    assert_eq!(expiring.next_event_or_end(), None, "nothing more is sent");
}

#[test]
fn the_hub_leads_readers_to_its_event_hub() {
    let hub = hub();
    let mut client = client(&hub);
    let host = hub.name();
    for (address, tail) in [
        ("messages/events/", ""),
        ("/messages/events/$management", "$management"),
        ("messages/events/ConsumerGroups/$Default/Partitions/0", "ConsumerGroups/$Default/Partitions/0"),
    ] {
        for refused in [client.attach_receiver(address), client.attach_sender(address)] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.condition, "amqp:link:redirect", "{address}");
            let expected = [
                ("hostname", host.to_owned()),
                ("network-host", host.to_owned()),
                ("port", "Uint(5671)".to_owned()),
                ("address", format!("amqps://{host}:5671/{host}/{tail}")),
            ];
            assert_eq!(refused.info, expected.map(|(name, value)| (name.to_owned(), value)), "{address}");
        }
    }
}

#[test]
fn management_answers_questions_about_the_event_hub_and_its_partitions() {
    let hub = hub();
    let mut client = client(&hub);
    let link = client.attach_management().unwrap();
    let host = hub.name().to_owned();
    let read = ("operation", "READ");
    let mut ask = |pairs: &[(&str, &str)]| client.manage(link, pairs);
    let answer = ask(&[read, ("name", &host), EVENT_HUB]);
    assert_eq!((answer.status, answer.description.as_str()), (200, "OK"));
    assert_eq!(answer.names, ["name", "type", "created_at", "partition_count", "partition_ids"]);
    let partition = ("type", "com.microsoft:partition");
    let answer = ask(&[read, ("name", &host), partition, ("partition", "3"), ("security_token", "ignored")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.names.len(), 8, "{answer:?}");
    for (pairs, status) in [
        (&[("operation", "DELETE"), ("name", &*host), EVENT_HUB][..], 400),
        (&[read, ("name", &host)], 400),
        (&[read, ("name", &host), ("type", "com.microsoft:consumergroup")], 400),
        (&[read, ("name", "other"), EVENT_HUB], 404),
        (&[read, EVENT_HUB], 404),
        (&[read, ("name", &host), partition, ("partition", "4")], 404),
        (&[read, ("name", &host), partition], 404),
    ] {
        let answer = ask(pairs);
        assert_eq!((answer.status, answer.names.len()), (status, 0), "{pairs:?} {answer:?}");
    }
    let counted = |class: &str| {
        let label = format!("operation=\"getEventLog\",outcome=\"{class}\"");
        hub.metric("ferrohub_amqp_operations_total", &label)
    };
    assert_eq!((counted("2xx"), counted("4xx")), (2.0, 7.0));
}

#[test]
fn injected_faults_refuse_readers_and_questions() {
    let hub = Hub::builder().config("[faults]\nenabled = true").start();
    let service = Service::owner(&hub);
    let mut client = client(&hub);
    let link = client.attach_management().unwrap();
    for operation in ["readEvents", "getEventLog"] {
        let fault = json!({
            "kind": "refuseRequest", "operation": operation, "durationSeconds": 60, "error": "ServiceUnavailable",
        });
        let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
        let answer = service.http("POST", "/ferrohub/faults", Some(&token), Some(&fault.to_string()));
        assert!((200..300).contains(&answer.status), "{}", answer.body);
    }
    let refused = client.attach_events(&hub, &EventsLink::default()).unwrap_err();
    assert_eq!(refused.condition, "com.microsoft:timeout", "{refused:?}");
    let ManagementAnswer { status, .. } =
        client.manage(link, &[("operation", "READ"), ("name", hub.name()), EVENT_HUB]);
    assert_eq!(status, 503);
}
