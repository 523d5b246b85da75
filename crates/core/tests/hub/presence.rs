//! Connection states and activity times: what services see, and what is left of it after a restart.

use std::time::Duration;

use ferrohub_core::close_reason::CloseReason;
use ferrohub_model::Timestamp;
use ferrohub_model::device::{ConnectionState, Device};

use crate::test_hub::{START, TestHub, hours, pass, seconds};

/// The connection state, the time of its last change, and the time of the last activity.
fn times(device: &Device) -> (ConnectionState, Timestamp, Timestamp) {
    (
        device.connection_state.unwrap(),
        device.connection_state_updated_time.unwrap(),
        device.last_activity_time.unwrap(),
    )
}

fn at(passed: Duration) -> Timestamp {
    START.plus_millis(i64::try_from(passed.as_millis()).unwrap())
}

async fn seen(hub: &TestHub) -> (ConnectionState, Timestamp, Timestamp) {
    times(&hub.see("d").await)
}

use ConnectionState::{Connected, Disconnected};

#[tokio::test(start_paused = true)]
async fn a_device_has_the_times_of_its_connects_and_of_its_activity() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    assert_eq!(seen(&hub).await, (Disconnected, Timestamp::NEVER, Timestamp::NEVER));
    pass(seconds(10)).await;
    let first = hub.connect("d").await;
    assert_eq!(seen(&hub).await, (Connected, at(seconds(10)), at(seconds(10))));
    pass(seconds(10)).await;
    first.record_activity();
    assert_eq!(seen(&hub).await, (Connected, at(seconds(10)), at(seconds(20))));
    pass(seconds(10)).await;
    let second = hub.connect("d").await;
    assert_eq!(first.connection().close_reason(), Some(CloseReason::TakenOver));
    first.disconnected(CloseReason::Lost).await;
    assert_eq!(seen(&hub).await, (Connected, at(seconds(30)), at(seconds(30))));
    pass(seconds(10)).await;
    second.record_activity();
    pass(seconds(10)).await;
    second.disconnected(CloseReason::ClientDisconnect).await;
    let expected = (Disconnected, at(seconds(50)), at(seconds(40)));
    assert_eq!(seen(&hub).await, expected, "before it is stored");
    pass(hours(1)).await;
    assert_eq!(seen(&hub).await, expected, "after it is stored");
    let _ = hub.device("d").await;
    assert_eq!(seen(&hub).await, (Disconnected, at(seconds(50)), at(seconds(3650))), "over HTTPS");
    let hub = hub.restart().await;
    assert_eq!(seen(&hub).await, (Disconnected, at(seconds(50)), at(seconds(3650))));
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_no_device_is_connected_and_little_activity_is_lost() {
    let hub = TestHub::start().await;
    for name in ["d", "d/m", "e"] {
        hub.create(name).await;
    }
    let (device, _module) = (hub.connect("d").await, hub.connect("d/m").await);
    pass(seconds(299)).await;
    device.record_activity();
    // The activity of connected devices is stored every five minutes.
    pass(seconds(2)).await;
    device.record_activity();
    pass(seconds(9)).await;
    let hub = hub.crash().await;
    assert_eq!(seen(&hub).await, (Disconnected, at(seconds(310)), at(seconds(299))));
    assert_eq!(hub.see("e").await.connection_state_updated_time, Some(Timestamp::NEVER));
    let service = hub.service().await;
    assert_eq!(service.get_service_statistics().await.unwrap().connected_device_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_stored_after_a_second() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let _device = hub.connect("d").await;
    pass(Duration::from_millis(999)).await;
    let stored = hub.store.reopened();
    use ferrohub_core::registry::RegistryStore as _;
    let id = crate::test_hub::id("d");
    assert_eq!(stored.identity(&id).await.unwrap().unwrap().last_activity, Timestamp::NEVER);
    pass(Duration::from_millis(1)).await;
    let stored = hub.store.reopened();
    assert_eq!(stored.identity(&id).await.unwrap().unwrap().last_activity, START);
}
