//! Reading the event log over HTTPS: positions, limits, formats and authorization.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::{Duration, Instant};

use ferrohub_acceptance::raw_tls::RawTls;
use ferrohub_acceptance::{Device, Event, Events, Hub, Message, Service, eventually, sas};
use serde_json::{Value, json};

/// Creates devices and sends messages from each, in order.
fn send(hub: &Hub, service: &Service, devices: &[&str], messages: usize) {
    for device in devices {
        let device = Device::with_identity(&service.create_device(device)).start(hub);
        let messages: Vec<Message> = (0..messages).map(|n| Message::text(&n.to_string())).collect();
        device.send(&messages).unwrap();
    }
}

/// Returns the position after these events.
fn position_after(seen: &[Event]) -> String {
    let mut last = std::collections::BTreeMap::new();
    for event in seen {
        last.insert(event.partition(), event.sequence());
    }
    let pairs: Vec<String> =
        last.iter().map(|(partition, sequence)| format!("{partition}:{sequence}")).collect();
    pairs.join(",")
}

#[test]
fn a_reader_continues_at_its_position_and_misses_no_event() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    send(&hub, &service, &["dev0", "dev1", "dev2"], 8);
    let all = events.all();
    assert_eq!(all.len(), 24);

    // In small steps, each from the position of the last one: every event once.
    let mut seen = events.get("position=start&wait=0&max=5");
    assert_eq!(seen.len(), 5);
    loop {
        let more = events.get(&format!("position={}&wait=0&max=5", position_after(&seen)));
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    let sorted = |mut events: Vec<Event>| {
        events.sort_by_key(|event| (event.partition(), event.sequence()));
        events
    };
    assert_eq!(sorted(seen), sorted(all.clone()));

    // From a time.
    let last = all.iter().max_by_key(|event| event.0["enqueuedTime"].as_str().unwrap().to_owned()).unwrap();
    let since = events.get(&format!("position={}&wait=0", last.0["enqueuedTime"].as_str().unwrap()));
    assert!(since.contains(last) && since.len() < 24, "{}", since.len());
    assert!(events.get("position=2999-01-01T00%3A00%3A00Z&wait=0").is_empty());
    // One partition.
    let partition = all[0].partition();
    let of_one = events.get(&format!("position=start&partition={partition}&wait=0"));
    assert_eq!(of_one, all.iter().filter(|e| e.partition() == partition).cloned().collect::<Vec<_>>());
    // At the end: no events, and the response contains the position.
    let answer = events.request("position=end&wait=0");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let end = answer.header("ferrohub-position").to_owned();
    assert!(events.get(&format!("position={end}&wait=0")).is_empty());
    send(&hub, &service, &["later"], 1);
    assert_eq!(events.get(&format!("position={end}&wait=0")).len(), 1);

    let info = events.info();
    assert_eq!(info["consumerGroups"], json!(["$Default"]));
    let next: u64 = info["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["nextSequenceNumber"].as_u64().unwrap())
        .sum();
    assert_eq!((next, info["partitions"].as_array().unwrap().len()), (25, 4));
}

#[test]
fn a_reader_waits_for_events_until_its_limit() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.connect().unwrap();
    let begun = Instant::now();
    assert!(events.get("position=end&wait=1").is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(1));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| events.get("position=start&wait=20&max=1"));
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        device.send(&[Message::text("awaited")]).unwrap();
        assert_eq!(reader.join().unwrap()[0].body(), "awaited");
        assert!(begun.elapsed() < Duration::from_secs(5), "the reader was notified without polling");
    });
}

#[test]
fn invalid_read_requests_are_refused() {
    let hub = Hub::builder().config("[events]\nconsumer_groups = [\"group1\"]").start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    for (query, status, code) in [
        ("position=yesterday", 400, "ArgumentInvalid"),
        ("position=0:7", 400, "ArgumentInvalid"),
        ("max=many", 400, "ArgumentInvalid"),
        ("wait=-1", 400, "ArgumentInvalid"),
        ("partition=70000", 400, "ArgumentInvalid"),
        ("consumerGroup=%ff", 400, "ArgumentInvalid"),
        ("partition=4", 404, "GenericNotFound"),
        ("consumerGroup=nobody", 404, "GenericNotFound"),
        ("api-version=1999-01-01", 400, "InvalidProtocolVersion"),
    ] {
        let answer = events.request(&format!("{query}&wait=0"));
        assert_eq!((answer.status, answer.error_code()), (status, code), "{query}");
    }
    for group in ["%24Default", "$default", "GROUP1"] {
        assert_eq!(events.request(&format!("consumerGroup={group}&wait=0")).status, 200, "{group}");
    }
    assert_eq!(events.info()["consumerGroups"], json!(["$Default", "group1"]));
}

#[test]
fn only_a_policy_with_the_right_service_connect_may_read() {
    let hub = Hub::builder().with_development_issuer().start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let resource = identity.resource();
    let own = sas::Token {
        resource: &resource,
        key: &identity.primary_key,
        expiry: sas::now() + 300,
        policy: None,
    };
    let device_policy = hub.command(["policy", "show", "device", "--output", "json"]).success();
    let device_policy: Value = serde_json::from_str(&device_policy).unwrap();
    let of_device_policy = sas::Token {
        resource: hub.name(),
        key: device_policy["primaryKey"].as_str().unwrap(),
        expiry: sas::now() + 300,
        policy: Some("device"),
    };
    let entra = Service::with_entra(&hub);
    let entra = entra.call("entra_token", &json!({})).unwrap();
    let bearer = format!("Bearer {}", entra.as_str().unwrap());
    assert_eq!(service.http("GET", "/devices/dev1", Some(&bearer), None).status, 200, "a valid token");
    for path in ["/messages/events?wait=0", "/messages/events/partitions"] {
        for authorization in [
            None,
            Some(own.sign()),
            Some(of_device_policy.sign()),
            Some(bearer.clone()),
            Some("malformed".to_owned()),
        ] {
            let answer = service.http("GET", path, authorization.as_deref(), None);
            assert_eq!(
                (answer.status, answer.error_code()),
                (401, "IotHubUnauthorizedAccess"),
                "{authorization:?}"
            );
        }
    }
}

/// Starts a streaming request on its own connection.
fn follow(hub: &Hub, token: &str, query: &str, accept: &str) -> RawTls {
    let mut connection = RawTls::https(hub);
    connection.send(
        format!(
            "GET /messages/events?{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: {token}\r\nAccept: {accept}\r\n\r\n",
            hub.name()
        )
        .as_bytes(),
    );
    connection
}

#[test]
fn the_readers_of_a_group_are_limited_and_a_slot_is_released() {
    let hub = Hub::builder().config("[events]\nreaders_per_group = 2\nconsumer_groups = [\"other\"]").start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let first = follow(&hub, events.token(), "partition=1", "*/*");
    let _second = follow(&hub, events.token(), "position=start", "*/*");
    let readers = |count: &str| {
        eventually("the number of readers", Duration::from_secs(10), || {
            hub.metrics().contains(&format!("ferrohub_event_readers {count}\n")).then_some(())
        });
    };
    readers("2");
    let full = events.request("partition=1&wait=0");
    assert_eq!((full.status, full.error_code()), (429, "ThrottlingException"));
    assert_eq!(events.request("wait=0").status, 429, "a reader of all partitions needs a slot on each");
    assert_eq!(events.request("partition=2&wait=0").status, 200);
    assert_eq!(events.request("consumerGroup=other&wait=0").status, 200);
    drop(first);
    readers("1");
    assert_eq!(events.request("partition=1&wait=0").status, 200);
}

#[test]
fn a_stream_ends_cleanly_when_the_hub_shuts_down() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    send(&hub, &service, &["dev1"], 2);
    let token = Events::new(&hub, &service).token().to_owned();
    let mut lines = follow(&hub, &token, "position=start", "*/*");
    let mut blocks = follow(&hub, &token, "position=start", "text/event-stream");
    lines.read_until("\"body\":\"1\"");
    let head = blocks.read_until("\"body\":\"1\"");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let id = head.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned();
    assert_eq!(id.split(',').count(), 4, "{id}");
    let begun = Instant::now();
    assert!(hub.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    // The last, empty chunk: the response is complete.
    assert!(lines.read_to_end().ends_with(b"0\r\n\r\n"));
    assert!(blocks.read_to_end().ends_with(b"0\r\n\r\n"));

    // A browser's EventSource sends the last id that it received.
    hub.start_again();
    let events = Events::new(&hub, &service);
    let headers = json!({ "Authorization": token, "Last-Event-ID": id, "Accept": "text/event-stream" });
    let answer = service.http_with("GET", "/messages/events?position=start&wait=0", headers.clone(), None);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    send(&hub, &service, &["dev2"], 1);
    let answer = service.http_with("GET", "/messages/events?position=start&wait=0", headers, None);
    assert_eq!(answer.body.matches("data: ").count(), 1, "{}", answer.body);
    assert_eq!(events.all().len(), 3);
}

#[test]
fn the_log_is_limited_in_size_and_sequence_numbers_continue() {
    let hub = Hub::builder().config("[events]\nretention_bytes = 1048576\npartitions = 2").start();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let large = Message::bytes(&[0xff; 100_000]);
    for _ in 0..30 {
        device.send(std::slice::from_ref(&large)).unwrap();
    }
    let left = eventually("old events are removed", Duration::from_secs(20), || {
        let all = events.all();
        (all.len() <= 10).then_some(all)
    });
    assert!((8..=10).contains(&left.len()), "{}", left.len());
    let sequences: Vec<u64> = left.iter().map(Event::sequence).collect();
    assert_eq!(*sequences.last().unwrap(), 29);
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    // A reader with an older position starts at the first remaining event.
    let partition = left[0].partition();
    assert_eq!(events.get(&format!("position={partition}:3&partition={partition}&wait=0")).len(), left.len());
    let metrics = hub.metrics();
    let removed = metrics.lines().find(|line| line.starts_with("ferrohub_events_removed_total ")).unwrap();
    assert_eq!(removed.rsplit_once(' ').unwrap().1, (30 - left.len()).to_string());
}

#[test]
fn an_idle_hub_does_not_write_to_its_log() {
    let hub = Hub::start();
    let commits = || {
        let metrics = hub.metrics();
        let line = metrics.lines().find(|line| line.starts_with("ferrohub_event_log_commits_total "));
        line.unwrap().to_owned()
    };
    let before = commits();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(commits(), before);
}

#[test]
fn a_changed_number_of_partitions_is_an_error() {
    let mut hub = Hub::start();
    hub.stop();
    let config = hub.folder().join("hub.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str("\n[events]\npartitions = 8\n");
    std::fs::write(&config, text).unwrap();
    let refused = hub.command(["serve"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("has 4 partitions, which cannot be changed"), "{}", refused.stderr);
}

#[test]
fn a_stream_ends_at_once_when_the_keys_of_its_policy_change_or_its_token_expires() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    send(&hub, &service, &["dev1"], 1);
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let policy = service.http("GET", "/ferrohub/policies/service", Some(&owner), None).json();
    let key = policy["primaryKey"].as_str().unwrap();
    let token = |seconds| {
        sas::Token { resource: hub.name(), key, expiry: sas::now() + seconds, policy: Some("service") }.sign()
    };
    let mut stream = follow(&hub, &token(600), "position=start", "*/*");
    let mut short = follow(&hub, &token(4), "position=start", "*/*");
    let mut other = follow(&hub, &owner, "position=start", "*/*");
    for stream in [&mut stream, &mut short, &mut other] {
        stream.read_until("\"body\":\"0\"");
    }
    let begun = Instant::now();
    short.read_until("0\r\n\r\n");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    let path = "/ferrohub/policies/service/regenerate-key";
    assert_eq!(service.http("POST", path, Some(&owner), Some("{\"key\":\"primary\"}")).status, 200);
    let begun = Instant::now();
    stream.read_until("0\r\n\r\n");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // A stream of another policy goes on.
    send(&hub, &service, &["dev2"], 1);
    other.read_until("\"body\":\"0\"");
}
