//! Events with our own service SDK and on the command line, with Microsoft's device package.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Message, Service};
use ferrohub_service::{ErrorKind, EventPosition, EventStart, EventStream, ServiceClient};
use serde_json::Value;

fn client(hub: &Hub, variable: &str) -> ServiceClient {
    ServiceClient::builder_from_connection_string(hub.variable(variable))
        .unwrap()
        .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        .build()
        .unwrap()
}

async fn next(stream: &mut EventStream) -> String {
    let event = tokio::time::timeout(Duration::from_secs(30), stream.next())
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
    event.body.to_text().into_owned()
}

fn texts(from: usize, to: usize) -> Vec<Message> {
    (from..to).map(|number| Message::text(&number.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_continues_over_restarts_without_loss_or_duplicates() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let client = client(&hub, "IOTHUB_SERVICE_CONNECTION_STRING");
    let mut stream = client.events().start(EventStart::Earliest).open().await.unwrap();
    let mut from_end = client.events().open().await.unwrap();
    device.send(&texts(0, 5)).unwrap();
    for number in 0..3 {
        assert_eq!(next(&mut stream).await, number.to_string());
    }
    assert_eq!(next(&mut from_end).await, "0");
    // A cancelled wait loses no event.
    let mut idle = client.events().open().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), idle.next()).await.is_err());
    for kill in [false, true] {
        if kill {
            hub.kill();
        } else {
            hub.stop();
        }
        hub.start_again();
    }
    let again = Device::with_identity(&service.create_device("dev2")).start(&hub);
    again.send(&texts(100, 102)).unwrap();
    let mut rest = Vec::new();
    for _ in 0..4 {
        rest.push(next(&mut stream).await);
    }
    rest.sort_by_key(|text| text.parse::<u64>().unwrap());
    assert_eq!(rest, ["3", "4", "100", "101"]);
    assert_eq!((next(&mut idle).await, next(&mut idle).await), ("100".to_owned(), "101".to_owned()));

    // Later, from the stored position.
    let kept = stream.position().to_string();
    drop(stream);
    again.send(&texts(102, 103)).unwrap();
    let kept: EventPosition = kept.parse().unwrap();
    let mut stream = client.events().start(EventStart::After(kept)).open().await.unwrap();
    assert_eq!(next(&mut stream).await, "102");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_invalid_read_request_has_its_kind_of_error() {
    let hub = Hub::builder().config("[events]\nreaders_per_group = 1\nconsumer_groups = [\"other\"]").start();
    let owner = client(&hub, "IOTHUB_CONNECTION_STRING");
    let info = owner.get_event_log().await.unwrap();
    assert_eq!(
        (info.partitions.len(), info.consumer_groups),
        (4, vec!["$Default".to_owned(), "other".to_owned()])
    );
    assert!(
        info.partitions.iter().all(|partition| partition.is_empty && partition.next_sequence_number == 0)
    );
    let kind = async |reader: ferrohub_service::EventReader| reader.open().await.unwrap_err().kind();
    assert_eq!(kind(owner.events().consumer_group("nobody")).await, ErrorKind::NotFound);
    assert_eq!(kind(owner.events().partition(4)).await, ErrorKind::NotFound);
    let other: EventPosition = "0:77".parse().unwrap();
    assert_eq!(kind(owner.events().start(EventStart::After(other))).await, ErrorKind::BadRequest);
    let _first = owner.events().partition(0).open().await.unwrap();
    assert_eq!(kind(owner.events()).await, ErrorKind::Throttled);
    let _other = owner.events().consumer_group("OTHER").open().await.unwrap();
}

#[test]
fn events_are_printed_on_the_command_line() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for (id, text) in [("dev1", "first"), ("dev2", "second")] {
        let device = Device::with_identity(&service.create_device(id)).start(&hub);
        device.send(&[Message::text(text).custom("hall", "7")]).unwrap();
    }
    let watch = |arguments: &[&str], signal: i32| {
        hub.run_until_signal(&[&["monitor", "events"], arguments].concat(), signal)
    };
    const INTERRUPT: i32 = 2;
    let both = watch(&["--from", "start", "--output", "json"], INTERRUPT);
    assert_eq!(both.code, 0, "{}", both.stderr);
    let bodies: Vec<String> = both
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["body"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    let one = watch(&["--from", "start", "--device", "dev2"], INTERRUPT).success();
    assert!(one.contains("dev2 Telemetry") && one.contains("  hall: 7\n  second\n"), "{one}");
    assert!(!one.contains("first"));
    assert_eq!(watch(&["--from", "2999-01-01T00:00:00Z"], INTERRUPT).success(), "");
    let wrong = hub.command(["monitor", "events", "--from", "yesterday"]);
    assert_eq!(wrong.code, 2);
    let unknown = hub.command(["monitor", "events", "--consumer-group", "nobody"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("nobody"), "{unknown:?}");
}
