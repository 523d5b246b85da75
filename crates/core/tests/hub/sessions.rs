//! Subscriptions of devices outlive their connections and the hub.

use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::session::{Session, Subscription};

use crate::test_hub::{TestHub, hours, pass};

#[tokio::test(start_paused = true)]
async fn a_session_outlives_its_connection_and_the_hub_until_a_clean_start() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let listens = Session::default().with(Subscription::Methods, true);
    let device = hub.connect("d").await;
    device.set_session(listens, true).await.unwrap();
    device.disconnected(CloseReason::Lost).await;
    pass(hours(24 * 30)).await;
    assert_eq!(hub.connect("d").await.connection().session(), listens);
    let hub = hub.restart().await;
    assert_eq!(hub.connect("d").await.connection().session(), listens);
    let hub = hub.crash().await;
    assert_eq!(hub.connect("d").await.connection().session(), listens);
    assert_eq!(hub.connect_clean("d").await.connection().session(), Session::default());
    assert_eq!(hub.connect("d").await.connection().session(), Session::default());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_not_durable_ends_with_its_connection() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.connect("d").await;
    device.set_session(Session::default().with(Subscription::Methods, false), false).await.unwrap();
    let next = hub.connect("d").await;
    assert_eq!(device.connection().close_reason(), Some(CloseReason::TakenOver));
    assert_eq!(next.connection().session(), Session::default());
}
