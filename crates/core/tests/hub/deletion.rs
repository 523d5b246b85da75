//! A device that is deleted leaves nothing behind, also not in what the hub stores later.

use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::connections::ConnectRefusal;
use ferrohub_core::registry::{IfMatch, RegistryStore as _};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_core::store::StoreError;
use ferrohub_model::{DeviceId, Timestamp};

use crate::messages::send;
use crate::test_hub::{TestHub, id, pass, seconds};

async fn delete(hub: &TestHub, device: &str) {
    let service = hub.service().await;
    service.delete_device(&DeviceId::new(device).unwrap(), &IfMatch::Any).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_late_does_not_reach_a_device_that_was_deleted_or_created_again() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    hub.create("d/m").await;
    let (device, module) = (hub.connect("d").await, hub.connect("d/m").await);
    let listens = Session::default().with(Subscription::Methods, true);
    device.set_session(listens, true).await.unwrap();
    send(&hub, "d", "a", None).await;
    device.record_activity();
    delete(&hub, "d").await;
    assert_eq!(device.connection().close_reason(), Some(CloseReason::Deleted));
    assert_eq!(module.connection().close_reason(), Some(CloseReason::Deleted));
    assert!(matches!(hub.try_connect("d", false).await, Err(ConnectRefusal::NotAuthorized(_))));
    hub.create("d").await;
    // The heads notice the end of the connections later, and the hub stores times every second.
    device.set_session(listens.with(Subscription::Messages, true), true).await.unwrap();
    device.disconnected(CloseReason::Lost).await;
    module.disconnected(CloseReason::Lost).await;
    pass(seconds(600)).await;
    let again = hub.see("d").await;
    assert_eq!(again.last_activity_time, Some(Timestamp::NEVER));
    assert_eq!(again.connection_state_updated_time, Some(Timestamp::NEVER));
    assert_eq!(again.cloud_to_device_message_count, Some(0));
    let modules = hub.service().await.list_modules(&DeviceId::new("d").unwrap()).await.unwrap();
    assert!(modules.is_empty());
    let connected = hub.connect("d").await;
    assert_eq!(connected.connection().session(), Session::default());
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_has_stopped_stores_nothing_more() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.connect("d").await;
    hub.hub.drain().await;
    assert_eq!(device.connection().close_reason(), Some(CloseReason::Stopping));
    assert!(matches!(hub.try_connect("d", false).await, Err(ConnectRefusal::Unavailable)));
    hub.hub.close().await;
    assert!(matches!(hub.store.identity(&id("d")).await, Err(StoreError::Closed)));
    let stored = hub.store.reopened().identity(&id("d")).await.unwrap().unwrap();
    assert_eq!(stored.connection_state_updated, hub.now(), "the end of the connection is stored");
}
