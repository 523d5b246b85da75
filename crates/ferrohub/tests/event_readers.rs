//! Readers of the event log: owner levels, and events as heads get them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod hub;

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::telemetry::{
    AuthMethod, DeviceMessage, EventProperties, EventReader, EventSource, PropertyName, PropertyValue,
    ReadError, ReadRequest, StartPosition, Stolen, partition_of,
};
use ferrohub_core::{Credentials, DeviceCaller, Hub, Operation, ServiceCaller};
use ferrohub_model::message::SystemProperty;
use ferrohub_model::{ErrorCode, Guid, HubError, IdentityId, Right, SharedAccessKey, Timestamp, sas};

use hub::{EXPIRY, HOST, NOW, SetUp, create_device, policy, service};

const DEVICE: &str = "d";

/// A hub with a device that sends, and a service that reads.
struct World {
    hub: Arc<Hub>,
    reading: ServiceCaller,
    sending: DeviceCaller,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SharedAccessKey::generate();
        let hub = SetUp::new(folder.path(), vec![policy("owner", &Right::ALL, &key)]).start().await;
        let reading = service(&hub, "owner", &key).await;
        create_device(&reading, DEVICE, &key).await;
        let id = IdentityId::parse(DEVICE).unwrap();
        let token = sas::sign(&format!("{HOST}{}", id.resource_path()), &key, None, EXPIRY);
        let credentials = Credentials { token: Some(&token), certificate: None };
        let sending = hub.authenticate_device(&id, credentials, Operation::SendEvent).await.unwrap();
        Self { hub, reading, sending, _folder: folder }
    }

    async fn open(&self, from: StartPosition, owner_level: Option<i64>) -> Result<EventReader, HubError> {
        let partition = Some(partition_of(DEVICE, 4));
        let request = ReadRequest { consumer_group: "$Default", from, partition, owner_level };
        self.reading.read_events(request).await
    }

    async fn send(&self, properties: &EventProperties, body: &'static str) {
        let message =
            DeviceMessage { properties: properties.clone(), body: Bytes::from_static(body.as_bytes()) };
        self.sending.send_events(vec![message]).await.unwrap();
    }
}

async fn body_of_next(reader: &mut EventReader) -> Bytes {
    reader.next(1).await.unwrap().remove(0).body
}

#[tokio::test]
async fn a_reader_that_waits_ends_when_one_with_an_owner_level_takes_over() {
    let world = World::new().await;
    let stolen_by = |owner_level| Stolen { partition: partition_of(DEVICE, 4), owner_level };
    let mut plain = world.open(StartPosition::Start, None).await.unwrap();
    let waiting = tokio::spawn(async move { plain.next(1).await.unwrap_err() });
    tokio::task::yield_now().await;
    let mut owner = world.open(StartPosition::Start, Some(1)).await.unwrap();
    let end = waiting.await.unwrap();
    assert!(matches!(end, ReadError::Stolen(stolen) if stolen == stolen_by(1)), "{end:?}");

    world.send(&EventProperties::new(), "first").await;
    assert_eq!(body_of_next(&mut owner).await, "first");
    for level in [None, Some(0)] {
        let refused = world.open(StartPosition::Start, level).await.err().unwrap();
        assert_eq!(refused.code, ErrorCode::GenericConflict, "{level:?}");
        assert!(refused.message.contains("with the owner level (epoch) 1 reads partition"), "{refused}");
    }
    let mut higher = world.open(StartPosition::Start, Some(2)).await.unwrap();
    // Events that are left are not read by two owners.
    world.send(&EventProperties::new(), "second").await;
    let end = owner.read(10).await.unwrap_err();
    assert!(matches!(end, ReadError::Stolen(stolen) if stolen == stolen_by(2)), "{end:?}");
    let end = owner.ended().await;
    assert!(end.to_string().contains("with the owner level 2 has taken over"), "{end}");
    assert_eq!(body_of_next(&mut higher).await, "first");
    assert_eq!(body_of_next(&mut higher).await, "second");

    assert_eq!(world.hub.metrics().events.stolen_readers.get(), 2);
    drop((owner, higher));
    assert!(world.open(StartPosition::End, None).await.is_ok(), "the level ends with its reader");
}

#[tokio::test]
async fn readers_without_credit_end_when_the_hub_stops() {
    let world = World::new().await;
    let mut reader = world.open(StartPosition::End, Some(0)).await.unwrap();
    let end = tokio::spawn(async move { reader.ended().await });
    world.hub.drain().await;
    assert!(matches!(end.await.unwrap(), ReadError::Stopping));
}

#[tokio::test]
async fn properties_keep_their_types_from_the_sender_to_the_reader() {
    let world = World::new().await;
    let mut properties = EventProperties::new();
    let system = [
        (SystemProperty::MessageId, PropertyValue::Uuid(Guid(7))),
        (SystemProperty::UserId, PropertyValue::Binary(b"\xff\x00")),
        (SystemProperty::ContentType, PropertyValue::Symbol("application/json")),
        (SystemProperty::CreationTime, PropertyValue::Timestamp(Timestamp::from_unix_millis(-1))),
    ];
    let application = [
        ("null", PropertyValue::Null),
        ("number", PropertyValue::Ulong(u64::MAX)),
        ("half", PropertyValue::Double(0.5)),
        ("yes", PropertyValue::Boolean(true)),
        ("text", PropertyValue::String("é")),
    ];
    for (property, value) in system {
        properties.push(PropertyName::System(property), value);
    }
    for (name, value) in application {
        properties.push(PropertyName::Application(name), value);
    }
    world.send(&properties, "{}").await;
    let mut reader = world.open(StartPosition::Start, None).await.unwrap();
    let event = reader.next(10).await.unwrap().remove(0);
    assert_eq!(event.properties.system().collect::<Vec<_>>(), system);
    assert_eq!(event.properties.application().collect::<Vec<_>>(), application);
    assert_eq!((event.partition, event.sequence, event.enqueued), (partition_of(DEVICE, 4), 0, NOW));
    assert_eq!((event.source, event.identity.auth), (EventSource::Telemetry, Some(AuthMethod::DeviceKey)));
    assert_eq!((event.identity.id.as_str(), event.body), (DEVICE, Bytes::from_static(b"{}")));
}

#[tokio::test]
async fn readers_start_at_offsets_sequence_numbers_and_times() {
    let world = World::new().await;
    for body in ["0", "1", "2"] {
        world.send(&EventProperties::new(), body).await;
    }
    let partition = partition_of(DEVICE, 4);
    let offset = |text, inclusive| StartPosition::at_offset(partition, text, inclusive).unwrap();
    let starts = [
        (offset("-1", false), "0"),
        (offset("1", true), "1"),
        (offset("1", false), "2"),
        (StartPosition::at_sequence(partition, 0, false), "1"),
        (StartPosition::at_time(NOW, true), "0"),
    ];
    for (start, body) in starts {
        let mut reader = world.open(start.clone(), Some(0)).await.unwrap();
        assert_eq!(body_of_next(&mut reader).await, body, "{start:?}");
    }
    for start in [offset("@latest", false), offset("2", false), StartPosition::at_time(NOW, false)] {
        let mut reader = world.open(start.clone(), Some(0)).await.unwrap();
        assert!(reader.read(1).await.unwrap().is_empty(), "{start:?}");
    }
    for start in [offset("3", false), StartPosition::at_sequence(partition, 4, true)] {
        let refused = world.open(start, None).await.err().unwrap();
        assert_eq!(refused.code, ErrorCode::ArgumentInvalid, "after the end of the log");
    }
    let log = world.reading.get_event_log().await.unwrap();
    let state = log.partitions[usize::from(partition)];
    assert_eq!((state.last, state.last_enqueued, state.is_empty()), (Some(2), Some(NOW), false));
    let other = log.partitions[usize::from(partition + 1) % 4];
    assert_eq!((other.last, other.last_enqueued, other.is_empty()), (None, None, true));
}
