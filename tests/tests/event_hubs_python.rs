//! Microsoft's `azure-eventhub` for Python, unmodified, reads the events of the hub.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{
    Azurite, Device, EventReaderClient, EventSender, Hub, Message, Script, Service, Storage, eventually,
};
use serde_json::{Value, json};

fn bodies(events: &[Value]) -> Vec<u64> {
    let mut bodies: Vec<u64> =
        events.iter().map(|event| event["body"].as_str().unwrap().parse().unwrap()).collect();
    bodies.sort_unstable();
    bodies
}

/// Everything that a reader does, with one client.
fn reads_everything(config: Value) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let reader = EventReaderClient::python(&hub, config);
    let empty = reader.properties().unwrap();
    assert_eq!(empty["hub"]["eventhub_name"], hub.name());
    assert_eq!(empty["hub"]["partition_ids"], json!(["0", "1", "2", "3"]));
    for partition in empty["partitions"].as_array().unwrap() {
        assert_eq!(partition["is_empty"], true);
        assert_eq!(partition["last_enqueued_sequence_number"], -1);
    }

    let sender = EventSender::with_devices(&service, 8);
    sender.send_one_of_each();
    let events = reader.receive(&json!({ "count": 8 }));
    assert_eq!(bodies(&events), [0, 1, 2, 3, 4, 5, 6, 7]);
    let first = events.iter().find(|event| event["body"] == "0").unwrap();
    assert_eq!(first["properties"], json!({ "level": "high" }));
    assert_eq!(first["offset"], first["sequence"].to_string());
    let system = &first["system"];
    for (name, value) in [
        ("iothub-connection-device-id", json!("dev0")),
        ("iothub-message-source", json!("Telemetry")),
        ("x-opt-sequence-number", first["sequence"].clone()),
        ("x-opt-offset", first["offset"].clone()),
        ("message-id", json!("m0")),
        ("content-type", json!("application/json")),
        ("content-encoding", json!("utf-8")),
    ] {
        assert_eq!(system[name], value, "{name}: {system}");
    }
    assert!(system["iothub-connection-auth-method"].as_str().unwrap().contains("\"scope\":\"device\""));
    assert!(system["iothub-connection-auth-generation-id"].is_string(), "{system}");
    assert!(system["iothub-enqueuedtime"].as_i64().unwrap() > 1_700_000_000_000, "{system}");

    let full = reader.properties().unwrap();
    let partition = first["partition"].as_str().unwrap();
    let state = &full["partitions"][partition.parse::<usize>().unwrap()];
    let of_partition: Vec<&Value> = events.iter().filter(|event| event["partition"] == partition).collect();
    let last = of_partition.iter().max_by_key(|event| event["sequence"].as_u64()).unwrap();
    assert_eq!(state["last_enqueued_sequence_number"], last["sequence"]);
    assert_eq!(state["last_enqueued_offset"], last["offset"]);
    assert_eq!((&state["beginning_sequence_number"], &state["is_empty"]), (&json!(0), &json!(false)));

    // From a position, inclusive or not, of each kind.
    let begin = |position: &Value, inclusive: bool, count: usize| {
        let arguments = json!({
            "count": count, "partition_id": partition, "position": position, "inclusive": inclusive,
        });
        reader.receive(&arguments)
    };
    let in_partition = of_partition.len();
    assert!(in_partition >= 2, "the devices share partitions: {events:?}");
    let (offset, sequence) = (&json!("0"), &json!(0));
    let time =
        &json!({ "time": of_partition.iter().find(|event| event["sequence"] == 0).unwrap()["enqueued"] });
    for position in [offset, sequence, time] {
        assert_eq!(begin(position, true, in_partition)[0]["sequence"], 0, "{position}");
        assert_eq!(begin(position, false, in_partition - 1)[0]["sequence"], 1, "{position}");
    }

    // From the end: it waits. The last event of the partition comes with each event.
    let waiting = reader.begin(&json!({
        "count": 1, "partition_id": partition, "position": "@latest",
        "track_last_enqueued_event_properties": true,
    }));
    eventually("a reader", Duration::from_secs(30), || {
        (hub.metric("ferrohub_event_readers", "") >= 1.0).then_some(())
    });
    sender.send(0, "100");
    let received = waiting.wait().unwrap();
    assert_eq!(received["errors"], json!([]), "{received}");
    let event = &received["events"][0];
    assert_eq!(event["body"], "100");
    assert_eq!(event["last"]["sequence_number"], event["sequence"]);
    assert_eq!(event["last"]["offset"], event["offset"]);
}

#[test]
fn the_python_client_reads_everything() {
    reads_everything(json!({}));
}

#[test]
fn the_asynchronous_python_client_reads_everything() {
    reads_everything(json!({ "asynchronous": true }));
}

#[test]
fn the_python_clients_read_over_a_websocket() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    EventSender::with_devices(&service, 8).send_one_of_each();
    for asynchronous in [false, true] {
        let config = json!({ "transport": "amqp_ws", "asynchronous": asynchronous });
        let reader = EventReaderClient::python(&hub, config);
        assert_eq!(reader.properties().unwrap()["hub"]["partition_ids"], json!(["0", "1", "2", "3"]));
        assert_eq!(bodies(&reader.receive(&json!({ "count": 8 }))), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

/// Two readers of a group, one after the other: the second continues where the first has set its checkpoints.
fn continues_at_checkpoints(asynchronous: bool) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 8);
    sender.send_one_of_each();
    let azurite = Azurite::start();
    let storage = Storage::start(&hub);
    let connection_string = azurite.connection_string();
    storage
        .call("create_container", &json!({ "connection_string": connection_string, "name": "checkpoints" }))
        .unwrap();
    let checkpoints = json!({ "connection_string": connection_string, "container": "checkpoints" });
    let receive = |count: usize| {
        let reader = EventReaderClient::python(&hub, json!({ "asynchronous": asynchronous }));
        reader.receive(&json!({ "count": count, "checkpoints": checkpoints }))
    };
    assert_eq!(bodies(&receive(8)), [0, 1, 2, 3, 4, 5, 6, 7]);
    for body in ["10", "11", "12"] {
        sender.send(body.len(), body);
    }
    assert_eq!(bodies(&receive(3)), [10, 11, 12]);
}

#[test]
fn readers_continue_at_their_checkpoints() {
    continues_at_checkpoints(false);
}

#[test]
fn asynchronous_readers_continue_at_their_checkpoints() {
    continues_at_checkpoints(true);
}

#[test]
fn a_reader_without_the_right_learns_it() {
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    let hub = Hub::builder()
        .config(&format!(
            "[[policy]]\nname = \"other\"\nrights = [\"RegistryRead\"]\nprimary_key = \"{key}\"\nsecondary_key = \"{key}\""
        ))
        .start();
    let connection_string = |policy: &str, key: &str| {
        format!(
            "Endpoint=sb://{0}/;SharedAccessKeyName={policy};SharedAccessKey={key};EntityPath={0}",
            hub.name()
        )
    };
    // A refused link is a lost connection for this client; the log of the hub has the reason.
    for (policy, expected) in [
        ("other", "ConnectionLostError"),
        ("service", "AuthenticationError"),
        ("nobody", "AuthenticationError"),
    ] {
        let config = json!({ "connection_string": connection_string(policy, key) });
        let failure = EventReaderClient::python(&hub, config).properties().unwrap_err();
        assert_eq!(failure.exception, expected, "{policy}: {failure:?}");
    }
    for reason in ["no_right", "bad_signature", "unknown_policy"] {
        assert!(hub.metric("ferrohub_unauthorized_total", reason) >= 1.0, "{reason}");
    }
}

/// What Microsoft's service helper of its samples does: it sends a message to a device with `azure-iot-hub`, and reads the events
/// of the device and the changes of its twin with `azure-eventhub`, in batches.
#[test]
fn a_back_end_sends_messages_and_reads_telemetry_and_twin_changes() {
    let hub = Hub::builder().config("[events]\nsources = [\"twinChangeEvents\"]").start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.listen_for_messages(true);
    let mut output = Script::new(&hub, "service_helper.py").arg("dev1").start();
    let mut next = || output.next_line(Duration::from_secs(60)).expect("a line");
    assert_eq!(next(), "reading");
    let message = device.next_message();
    assert_eq!(message.body_text(), "hello");
    device.report(&json!({ "rate": 5 })).unwrap();
    let telemetry = Message::text("{\"temperature\":21}")
        .system("message_id", "m1")
        .system("content_type", "application/json")
        .system("content_encoding", "utf-8")
        .custom("level", "high");
    device.send(&[telemetry]).unwrap();
    let mut lines = vec![next(), next()];
    lines.sort();
    assert_eq!(
        lines,
        [
            "patch {'reported': {'rate': 5}}",
            "telemetry m1 application/json {'temperature': 21} {'level': 'high'}",
        ]
    );
}
