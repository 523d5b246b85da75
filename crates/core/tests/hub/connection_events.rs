//! Connects and disconnects in the event log.

use ferrohub_core::HubSettings;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::telemetry::{EventSource, ReadRequest, StartPosition, StoredEvent};
use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;

use crate::test_hub::{TestHub, pass, seconds};

/// What happened to which device or module, in the order of the log.
async fn recorded(hub: &TestHub) -> Vec<String> {
    let request = ReadRequest {
        consumer_group: DEFAULT_CONSUMER_GROUP,
        from: StartPosition::Start,
        partition: None,
        owner_level: None,
    };
    let mut reader = hub.service().await.read_events(request).await.unwrap();
    let events = reader.read(1000).await.unwrap();
    let text = |event: &StoredEvent| {
        let mut properties = event.properties.application();
        let (_, operation) = properties.find(|(name, _)| *name == "opType").unwrap();
        format!("{operation} {}", event.identity.id)
    };
    events.iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn every_change_of_a_connection_is_recorded_once_and_in_order() {
    let hub = TestHub::start_with(|settings: &mut HubSettings| {
        settings.events.sources = vec![EventSource::ConnectionState];
    })
    .await;
    hub.create("d").await;
    hub.create("d/m").await;
    let first = hub.connect("d").await;
    let _module = hub.connect("d/m").await;
    pass(seconds(10)).await;
    let second = hub.connect("d").await;
    first.disconnected(CloseReason::Lost).await;
    pass(seconds(10)).await;
    second.disconnected(CloseReason::ClientDisconnect).await;
    second.disconnected(CloseReason::Lost).await;
    pass(seconds(10)).await;
    let expected = [
        "deviceConnected d",
        "deviceConnected d/m",
        "deviceDisconnected d",
        "deviceConnected d",
        "deviceDisconnected d",
    ];
    assert_eq!(recorded(&hub).await, expected);
}
