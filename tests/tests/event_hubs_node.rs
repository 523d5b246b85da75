//! Microsoft's `@azure/event-hubs` for Node, unmodified, reads the events of the hub.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{EventReaderClient, EventSender, Hub, Service, eventually};
use serde_json::{Value, json};

/// The client gives a JSON body as the value.
fn bodies(events: &[Value]) -> Vec<u64> {
    let mut bodies: Vec<u64> = events.iter().map(|event| event["body"].as_u64().unwrap()).collect();
    bodies.sort_unstable();
    bodies
}

fn reads_everything(transport: &str) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 8);
    sender.send_one_of_each();
    let reader = EventReaderClient::node(&hub, json!({ "transport": transport }));
    let properties = reader.properties().unwrap();
    assert_eq!(properties["hub"]["name"], hub.name());
    assert_eq!(properties["hub"]["partitionIds"], json!(["0", "1", "2", "3"]));

    let events = reader.receive(&json!({ "count": 8 }));
    assert_eq!(bodies(&events), [0, 1, 2, 3, 4, 5, 6, 7]);
    let first = events.iter().find(|event| event["body"] == 0).unwrap();
    assert_eq!(first["properties"], json!({ "level": "high" }));
    assert_eq!(first["contentType"], "application/json");
    assert_eq!(first["messageId"], "m0");
    assert_eq!(first["systemProperties"]["iothub-connection-device-id"], "dev0");
    let partition = first["partition"].as_str().unwrap();
    let state = &properties["partitions"][partition.parse::<usize>().unwrap()];
    assert_eq!((&state["partitionId"], &state["isEmpty"]), (&json!(partition), &json!(false)));

    let of_partition: Vec<&Value> = events.iter().filter(|event| event["partition"] == partition).collect();
    let count = of_partition.len();
    assert!(count >= 2, "the devices share partitions: {events:?}");
    let oldest = of_partition.iter().find(|event| event["sequenceNumber"] == 0).unwrap();
    let time = chrono_millis(oldest["enqueuedTimeUtc"].as_str().unwrap());
    for position in [json!({ "offset": "0" }), json!({ "sequenceNumber": 0 }), json!({ "enqueuedOn": time })]
    {
        let begin = |inclusive: bool, count: usize| {
            let mut start = position.clone();
            start["isInclusive"] = inclusive.into();
            reader.receive(&json!({ "count": count, "partition_id": partition, "position": start }))
        };
        // The client asks for times after the one it is given, whatever it is told.
        if position.get("enqueuedOn").is_none() {
            assert_eq!(begin(true, count)[0]["sequenceNumber"], 0, "{position}");
        }
        assert_eq!(begin(false, count - 1)[0]["sequenceNumber"], 1, "{position}");
    }

    let waiting = reader.begin(&json!({
        "count": 1, "partition_id": partition, "position": "latest", "track": true,
    }));
    eventually("a reader", Duration::from_secs(30), || {
        (hub.metric("ferrohub_event_readers", "") >= 1.0).then_some(())
    });
    sender.send(0, "100");
    let received = waiting.wait().unwrap();
    assert_eq!(received["errors"], json!([]), "{received}");
    let event = &received["events"][0];
    assert_eq!(event["body"], 100);
    assert_eq!(event["last"]["sequenceNumber"], event["sequenceNumber"]);
}

/// Milliseconds since 1970 of the time that the client prints.
fn chrono_millis(time: &str) -> i64 {
    let format = &time::format_description::well_known::Rfc3339;
    let time = time::OffsetDateTime::parse(time, format).unwrap();
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap()
}

#[test]
fn the_node_client_reads_everything() {
    reads_everything("amqp");
}

#[test]
fn the_node_client_reads_everything_over_a_websocket() {
    reads_everything("amqp_ws");
}

#[test]
fn a_node_reader_with_an_owner_level_takes_the_place_of_one_with_a_lower_level() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 1);
    sender.send(0, "1");
    let reader = EventReaderClient::node(&hub, json!({}));
    let partition = sender.partition_of(&hub, 0);
    let first = reader.begin(&json!({ "count": 100, "partition_id": partition, "owner_level": 1 }));
    let _ = reader.next_event();
    let events = reader.receive(&json!({ "count": 1, "partition_id": partition, "owner_level": 2 }));
    assert_eq!(bodies(&events), [1]);
    let ended = first.wait().unwrap();
    assert_eq!(ended["errors"][0]["type"], "ReceiverDisconnectedError", "{ended}");
}
