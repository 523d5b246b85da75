//! Events are removed when they are too old, or the log is too large.

use bytes::Bytes;
use ferrohub_core::telemetry::{
    DeviceMessage, EventProperties, EventReader, ReadRequest, StartPosition, StoredEvent,
};
use ferrohub_core::{ConnectedDevice, HubSettings};
use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;

use crate::test_hub::{TestHub, hours, pass, seconds};

async fn reader(hub: &TestHub, from: StartPosition) -> EventReader {
    let request =
        ReadRequest { consumer_group: DEFAULT_CONSUMER_GROUP, from, partition: None, owner_level: None };
    hub.service().await.read_events(request).await.unwrap()
}

/// The sequence numbers of all events of the only device.
async fn sequence_numbers(hub: &TestHub) -> Vec<u64> {
    let mut reader = reader(hub, StartPosition::Start).await;
    let mut all: Vec<StoredEvent> = Vec::new();
    loop {
        let more = reader.read(1000).await.unwrap();
        if more.is_empty() {
            return all.iter().map(|event| event.sequence).collect();
        }
        all.extend(more);
    }
}

async fn send(device: &ConnectedDevice, bytes: usize) {
    let message = DeviceMessage { properties: EventProperties::new(), body: Bytes::from(vec![0; bytes]) };
    device.send_events(vec![message]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_are_removed_at_their_maximum_age() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.connect("d").await;
    send(&device, 1).await;
    pass(hours(12)).await;
    send(&device, 1).await;
    pass(hours(12) - seconds(1)).await;
    assert_eq!(sequence_numbers(&hub).await, [0, 1]);
    // Old events are removed in groups, once a minute.
    pass(seconds(62)).await;
    assert_eq!(sequence_numbers(&hub).await, [1]);
    pass(hours(13)).await;
    assert_eq!(sequence_numbers(&hub).await, [0; 0]);
    send(&device, 1).await;
    assert_eq!(sequence_numbers(&hub).await, [2], "sequence numbers continue");
    let hub = hub.restart().await;
    assert_eq!(sequence_numbers(&hub).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_events_are_removed_when_the_log_is_too_large() {
    let hub =
        TestHub::start_with(|settings: &mut HubSettings| settings.events.retention_bytes = 1 << 20).await;
    hub.create("d").await;
    let device = hub.connect("d").await;
    let mut slow = reader(&hub, StartPosition::Start).await;
    for _ in 0..30 {
        send(&device, 100_000).await;
    }
    pass(seconds(0)).await;
    let left = sequence_numbers(&hub).await;
    assert_eq!(left.last(), Some(&29));
    assert!((8..=10).contains(&left.len()), "{left:?}");
    assert_eq!(slow.read(1).await.unwrap()[0].sequence, left[0], "a reader continues after the gap");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_gets_the_next_event_at_once() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.connect("d").await;
    send(&device, 1).await;
    let mut reader = reader(&hub, StartPosition::End).await;
    let waiting = tokio::spawn(async move { reader.next(10).await.unwrap()[0].sequence });
    pass(hours(1)).await;
    assert!(!waiting.is_finished());
    let began = tokio::time::Instant::now();
    send(&device, 1).await;
    assert_eq!(waiting.await.unwrap(), 1);
    assert_eq!(began.elapsed(), seconds(0));
}
