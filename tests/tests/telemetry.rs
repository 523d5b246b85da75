//! Telemetry with Microsoft's device package, and how back ends receive it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::BTreeSet;

use ferrohub_acceptance::certificate::{self, Validity};
use ferrohub_acceptance::sas::{self, Token};
use ferrohub_acceptance::{
    Client, Device, Event, Events, HttpResponse, Hub, Identity, Message, PahoDevice, Service,
};
use serde_json::{Value, json};

/// The largest message, body and properties.
const LIMIT: usize = 256 * 1024;

/// Creates a message with all properties that the package supports.
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
fn a_message_arrives_unchanged() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let clients = [Client::Sync, Client::Async].into_iter().flat_map(|c| [(c, false), (c, true)]);
    for (number, (client, websockets)) in clients.enumerate() {
        let id = format!("dev{number}");
        let identity = service.create_device(&id);
        let device =
            Device::with_identity(&identity).client(client).option("websockets", websockets).start(&hub);
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

#[test]
fn a_module_sends_through_its_outputs() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let module = service.create_module("dev1", "mod1");
    let events = Events::new(&hub, &service);
    for client in [Client::Sync, Client::Async] {
        let device = Device::with_identity(&module).client(client).start(&hub);
        device.send_to_output("out 1", &Message::text("through").custom("a", "b")).unwrap();
        device.send(&[Message::text("without")]).unwrap();
        device.shutdown();
    }
    let sent = events.wait_for(4, |event| event.system("iothub-connection-module-id") == "mod1");
    for pair in sent.chunks(2) {
        assert_eq!((pair[0].body(), pair[0].system("iothub-outputname")), ("through", "out 1"));
        assert_eq!(*pair[0].properties(), json!({ "a": "b" }));
        assert_eq!((pair[1].body(), pair[1].system("iothub-outputname")), ("without", ""));
        assert_eq!(pair[0].device(), "dev1");
        let method: Value = serde_json::from_str(pair[0].system("iothub-connection-auth-method")).unwrap();
        assert_eq!((&method["scope"], &method["type"]), (&json!("module"), &json!("sas")));
    }
}

#[test]
fn each_device_keeps_its_order_over_all_partitions() {
    const DEVICES: usize = 6;
    const MESSAGES: usize = 15;
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let devices: Vec<Device> = (0..DEVICES)
        .map(|number| {
            let identity = service.create_device(&format!("dev{number}"));
            Device::with_identity(&identity).start(&hub)
        })
        .collect();
    std::thread::scope(|scope| {
        for device in &devices {
            scope.spawn(|| {
                let messages: Vec<_> = (0..MESSAGES).map(|n| Message::text(&n.to_string())).collect();
                device.send(&messages).unwrap();
            });
        }
    });
    let all = Events::new(&hub, &service).all();
    assert_eq!(all.len(), DEVICES * MESSAGES);
    let mut used = BTreeSet::new();
    for number in 0..DEVICES {
        let of_device: Vec<&Event> =
            all.iter().filter(|event| event.device() == format!("dev{number}")).collect();
        let partitions: BTreeSet<u64> = of_device.iter().map(|event| event.partition()).collect();
        assert_eq!(partitions.len(), 1, "a device is in one partition");
        used.extend(partitions);
        assert!(of_device.is_sorted_by(|a, b| a.sequence() < b.sequence()));
        let bodies: Vec<&str> = of_device.iter().map(|event| event.body()).collect();
        let expected: Vec<String> = (0..MESSAGES).map(|n| n.to_string()).collect();
        assert_eq!(bodies, expected);
    }
    assert!(used.len() > 1, "the devices use several partitions");
    let total = format!("ferrohub_events_total{{source=\"Telemetry\"}} {}", DEVICES * MESSAGES);
    assert!(hub.metrics().contains(&total));
}

#[test]
fn messages_that_arrive_together_are_written_together() {
    const MESSAGES: usize = 200;
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).client(Client::Async).start(&hub);
    let messages: Vec<_> = (0..MESSAGES).map(|n| Message::text(&n.to_string())).collect();
    device.send(&messages).unwrap();
    assert_eq!(Events::new(&hub, &service).all().len(), MESSAGES);
    let metrics = hub.metrics();
    let line = metrics.lines().find(|line| line.starts_with("ferrohub_event_log_writes_total ")).unwrap();
    let writes: usize = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(writes < MESSAGES, "{writes}");
}

/// Returns a topic of a device with that many bytes of properties, including one byte for the name.
fn topic_with(device: &str, properties: usize) -> String {
    let bag = if properties == 0 { String::new() } else { format!("p={}", "v".repeat(properties - 1)) };
    format!("devices/{device}/messages/events/{bag}")
}

#[test]
fn the_size_limit_counts_body_and_properties() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    for (properties, body, accepted) in
        [(0, LIMIT, true), (0, LIMIT + 1, false), (1000, LIMIT - 1000, true), (1000, LIMIT - 999, false)]
    {
        let device = PahoDevice::new(&hub, &identity);
        assert!(device.connect());
        let body = vec![b'x'; body];
        assert_eq!(device.publish(&topic_with("dev1", properties), &body), accepted);
        assert_eq!(
            device.publish(&topic_with("dev1", 0), b"next"),
            accepted,
            "the connection is closed exactly if the message was refused"
        );

        let mut headers = json!({ "Authorization": device_token(&identity) });
        if properties > 0 {
            headers["iothub-app-p"] = "v".repeat(properties - 1).into();
        }
        let body = "x".repeat(body.len());
        let answer = post(&service, "dev1", headers, &body);
        assert_eq!(answer.status, if accepted { 204 } else { 413 }, "{}", answer.body);
        if !accepted {
            assert_eq!(answer.error_code(), "MessageTooLarge");
        }
    }
    assert!(hub.metrics().contains("ferrohub_events_refused_total{outcome=\"too_large\"} 2"));
}

fn device_token(identity: &Identity) -> String {
    let resource = identity.resource();
    let token =
        Token { resource: &resource, key: &identity.primary_key, expiry: sas::now() + 300, policy: None };
    token.sign()
}

#[track_caller]
fn post(service: &Service, path: &str, mut headers: Value, body: &str) -> HttpResponse {
    if headers["Content-Type"].is_null() {
        headers["Content-Type"] = "application/octet-stream".into();
    }
    let path = format!("/devices/{path}/messages/events?api-version=2021-04-12");
    service.http_with("POST", &path, headers, Some(body))
}

#[test]
fn a_publish_that_the_hub_does_not_accept_closes_the_connection() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let _ = service.create_device("dev2");
    let _ = service.create_module("dev1", "mod1");
    for topic in [
        "devices/dev2/messages/events/",
        "devices/dev1/modules/mod1/messages/events/",
        "devices/dev1/messages/eventsx/",
        "devices/dev1/messages/events/a=%zz",
        "devices/dev1/messages/events/=1",
        "devices/dev1/messages/devicebound/",
        "elsewhere",
    ] {
        let device = PahoDevice::new(&hub, &identity);
        assert!(device.connect());
        assert!(!device.publish(topic, b"x"), "{topic}");
    }
    assert!(hub.log().contains("the properties in the topic are malformed"));
    let device = PahoDevice::new(&hub, &identity);
    assert!(device.connect());
    // At QoS 0 there is no acknowledgement: whether the client takes it as sent depends on when it sees the connection end.
    let _ = device.publish_with("devices/dev2/messages/events/", b"x", 0, false);
    assert!(device.is_closed());
    assert!(Events::new(&hub, &service).all().is_empty());
}

#[test]
fn properties_in_the_topic_and_the_retain_flag_are_kept() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = PahoDevice::new(&hub, &service.create_device("dev1"));
    assert!(device.connect());
    let topic = "devices/dev1/messages/events";
    assert!(device.publish_with(&format!("{topic}/"), b"retained", 1, true));
    assert!(device.publish_with(&format!("{topic}/a=1/"), b"not acknowledged", 0, false));
    assert!(device.publish(topic, b"without a slash"));
    let bag = "%24.mid=1&$.ct=text%2Fplain&$.ctime=2024-01-01T00%3A00%3A00Z&$.sub=part&$.on=o&a%2Bb=c%2bd&flag&iothub-ack=full";
    assert!(device.publish(&format!("{topic}/{bag}"), b"all"));
    let sent = Events::new(&hub, &service).wait_for(4, |_| true);
    let bodies: Vec<&str> = sent.iter().map(Event::body).collect();
    assert_eq!(bodies, ["retained", "not acknowledged", "without a slash", "all"]);
    assert_eq!(*sent[0].properties(), json!({ "mqtt-retain": "true" }));
    assert_eq!(*sent[1].properties(), json!({ "a": "1" }));
    assert_eq!(*sent[3].properties(), json!({ "a+b": "c+d", "flag": "" }));
    for (name, value) in [
        ("message-id", "1"),
        ("content-type", "text/plain"),
        ("iothub-creation-time-utc", "2024-01-01T00:00:00Z"),
        ("dt-subject", "part"),
        ("iothub-outputname", "o"),
        ("iothub-ack", "full"),
    ] {
        assert_eq!(sent[3].system(name), value, "{name}");
    }
}

#[test]
fn a_will_is_sent_when_a_connection_ends_without_disconnect() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let identity = service.create_device("dev1");
    let _ = service.create_device("dev2");
    let topic = "devices/dev1/messages/events/$.ct=text%2Fplain&why=lost";
    let start = |payload: &str| {
        let device = PahoDevice::with_will(&hub, &identity, topic, payload, false);
        assert!(device.connect());
        device
    };
    // After DISCONNECT the will is not sent.
    let disconnected = start("never");
    disconnected.disconnect();
    assert!(disconnected.is_closed());
    start("lost").close_socket();
    let sent = events.wait_for(1, |_| true);
    assert_eq!(sent[0].body(), "lost");
    assert_eq!(*sent[0].properties(), json!({ "iothub-MessageType": "Will", "why": "lost" }));
    assert_eq!((sent[0].system("content-type"), sent[0].source()), ("text/plain", "Telemetry"));
    // A takeover and a protocol violation end the connection without DISCONNECT.
    let taken_over = start("taken_over");
    let faulty = start("faulty");
    assert!(taken_over.is_closed());
    assert!(!faulty.publish("elsewhere", b"x"));
    let sent = events.wait_for(3, |_| true);
    assert_eq!(sent.iter().map(Event::body).collect::<Vec<_>>(), ["lost", "taken_over", "faulty"]);
    // A deleted device sends no will.
    let deleted = start("deleted");
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    assert!(deleted.is_closed());
    // A connect with an invalid will is refused.
    let dev2 = service.create_device("dev3");
    for topic in ["devices/dev2/messages/events/", "devices/dev3/messages/events/a=%", "elsewhere"] {
        assert!(!PahoDevice::with_will(&hub, &dev2, topic, "x", false).connect(), "{topic}");
    }
    assert_eq!(events.all().len(), 3);
}

#[test]
fn messages_arrive_over_https_one_by_one_and_in_batches() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let (identity, module) = (service.create_device("dev1"), service.create_module("dev1", "mod1"));
    let token = device_token(&identity);
    let single = json!({
        "Authorization": token, "iothub-app-Hall": "7", "IoTHub-MessageId": "m1",
        "iothub-contenttype": "application/json", "iothub-creationtimeutc": "2024-01-01T00:00:00Z",
    });
    assert_eq!(post(&service, "dev1", single, "{\"a\": 1}").status, 204);
    let headers = json!({ "Authorization": device_token(&module) });
    assert_eq!(post(&service, "dev1/modules/mod1", headers, "of a module").status, 204);
    let batch_headers =
        json!({ "Authorization": token, "Content-Type": "application/vnd.microsoft.iothub.json" });
    let batch = json!([
        { "body": "Zmlyc3Q=", "properties": { "iothub-app-a": "1", "iothub-correlationid": "c" } },
        { "body": "second", "base64Encoded": false },
    ]);
    assert_eq!(post(&service, "dev1", batch_headers.clone(), &batch.to_string()).status, 204);
    let sent = events.all();
    assert_eq!(
        sent.iter().map(Event::body).collect::<Vec<_>>(),
        ["{\"a\": 1}", "of a module", "first", "second"]
    );
    assert_eq!(*sent[0].properties(), json!({ "hall": "7" }), "HTTP header names are case-insensitive");
    assert_eq!(sent[0].system("message-id"), "m1");
    assert_eq!(sent[0].system("content-type"), "application/json");
    assert_eq!(sent[0].system("iothub-creation-time-utc"), "2024-01-01T00:00:00Z");
    assert_eq!(sent[1].system("iothub-connection-module-id"), "mod1");
    assert_eq!((sent[2].property("a"), sent[2].system("correlation-id")), ("1", "c"));

    for (path, authorization, status) in [
        ("dev1", None, 401),
        ("dev1", Some(device_token(&module)), 401),
        // A module may use the key of its device.
        ("dev1/modules/mod1", Some(token.clone()), 204),
        ("dev2", Some(token.clone()), 401),
        ("dev1/modules/mod2", Some(token.clone()), 401),
    ] {
        let mut headers = json!({});
        if let Some(authorization) = authorization {
            headers["Authorization"] = authorization.into();
        }
        assert_eq!(post(&service, path, headers, "x").status, status, "{path}");
    }
    for (body, status) in [("[]", 400), ("{}", 400), ("[{\"body\":\"!\"}]", 400)] {
        assert_eq!(post(&service, "dev1", batch_headers.clone(), body).status, status, "{body}");
    }
    let large = json!([{ "body": "x".repeat(LIMIT), "base64Encoded": false }, { "body": "" }]);
    assert_eq!(post(&service, "dev1", batch_headers.clone(), &large.to_string()).status, 204);
    let large = json!([{ "body": "x".repeat(LIMIT), "base64Encoded": false }, { "body": "eA==" }]);
    assert_eq!(post(&service, "dev1", batch_headers, &large.to_string()).status, 413);
    assert_eq!(events.all().len(), 7, "a batch is stored completely or not at all");
}

#[test]
fn a_device_sends_over_https_with_a_certificate() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let own = certificate::self_signed(hub.folder(), "dev1", Validity::Valid);
    let device = json!({ "device_id": "dev1", "primary_thumbprint": own.sha256() });
    service.call("create_device_with_x509", &device).unwrap();
    let other = certificate::self_signed(hub.folder(), "other", Validity::Valid);
    let path = "/devices/dev1/messages/events";
    assert_eq!(service.http_with_certificate("POST", path, &own, Some("x")).status, 204);
    assert_eq!(service.http_with_certificate("POST", path, &other, Some("x")).status, 401);
    let sent = Events::new(&hub, &service).all();
    let method: Value = serde_json::from_str(sent[0].system("iothub-connection-auth-method")).unwrap();
    assert_eq!((sent.len(), &method["type"]), (1, &json!("x509Certificate")));
}
