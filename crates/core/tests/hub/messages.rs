//! Messages to devices: locks that run out, expiry, deliveries that are counted.

use std::time::Duration;

use bytes::Bytes;
use ferrohub_core::cloud_to_device::{MessageFilter, Settlement};
use ferrohub_core::node::Outgoing;
use ferrohub_core::session::{Session, Subscription};
use ferrohub_core::{ConnectedDevice, DeviceCaller, ServiceCaller};
use ferrohub_model::ErrorCode;
use ferrohub_model::message::{FeedbackStatus, MessageProperties, SystemProperty};

use crate::test_hub::{TestHub, hours, pass, seconds};

/// Sends the message `text` to a device, with its text as id and with full feedback. Without a time to live, it has the
/// default of one hour.
pub(crate) async fn send(hub: &TestHub, device: &str, text: &str, time_to_live: Option<Duration>) {
    let mut properties = MessageProperties::default();
    let mut set = |property, value: String| drop(properties.system.insert(property, value));
    set(SystemProperty::To, format!("/devices/{device}/messages/deviceBound"));
    set(SystemProperty::MessageId, text.to_owned());
    set(SystemProperty::Ack, "full".to_owned());
    if let Some(time_to_live) = time_to_live {
        let millis = i64::try_from(time_to_live.as_millis()).unwrap();
        set(SystemProperty::Expiry, hub.now().plus_millis(millis).to_string());
    }
    let body = Bytes::copy_from_slice(text.as_bytes());
    hub.service().await.send_message(properties, body).await.unwrap();
}

/// Receives a message over HTTPS. Returns its lock token and its text.
pub(crate) async fn receive(device: &DeviceCaller) -> Option<(String, String)> {
    let locked = device.receive_message().await.unwrap()?;
    let text = String::from_utf8(locked.message.message.body.to_vec()).unwrap();
    Some((locked.token.to_string(), text))
}

/// The text of the next message over HTTPS.
async fn next_text(device: &DeviceCaller) -> Option<String> {
    receive(device).await.map(|(_, text)| text)
}

async fn settle(device: &DeviceCaller, token: &str, settlement: Settlement) -> Result<(), ErrorCode> {
    device.settle_message(token, settlement).await.map_err(|error| error.code)
}

/// The ids and outcomes of the next feedback.
async fn outcomes(service: &ServiceCaller) -> Vec<(String, FeedbackStatus)> {
    let batch = service.receive_feedback().await.unwrap();
    let records = batch.into_iter().flat_map(|batch| batch.records);
    records.map(|record| (record.original_message_id, record.status_code)).collect()
}

async fn hub_with_device() -> (TestHub, DeviceCaller) {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.device("d").await;
    (hub, device)
}

#[tokio::test(start_paused = true)]
async fn a_message_is_delivered_again_when_its_lock_runs_out() {
    let (hub, device) = hub_with_device().await;
    send(&hub, "d", "a", None).await;
    let (token, text) = receive(&device).await.unwrap();
    assert_eq!(text, "a");
    pass(Duration::from_millis(59_999)).await;
    assert_eq!(next_text(&device).await, None, "it is locked");
    pass(Duration::from_millis(1)).await;
    assert_eq!(settle(&device, &token, Settlement::Complete).await, Err(ErrorCode::DeviceMessageLockLost));
    let locked = device.receive_message().await.unwrap().unwrap();
    assert_eq!(&locked.message.message.body[..], b"a");
    assert_eq!(locked.message.delivery_count, 0, "only an abandoned delivery counts");
    let second = locked.token.to_string();
    assert_eq!(settle(&device, &token, Settlement::Complete).await, Err(ErrorCode::DeviceMessageLockLost));
    settle(&device, &second, Settlement::Complete).await.unwrap();
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_connected_device_is_notified_when_a_lock_runs_out() {
    let (hub, device) = hub_with_device().await;
    let connected = hub.connect("d").await;
    let session = Session::default().with(Subscription::Messages, true);
    connected.set_session(session, true).await.unwrap();
    let receiver = connected.message_receiver().unwrap();
    send(&hub, "d", "a", None).await;
    receive(&device).await.unwrap();
    let fetch = async || receiver.fetch(MessageFilter::ALL, 16, 1 << 20).await.unwrap().messages.len();
    assert_eq!((drain(&connected).await, fetch().await), (true, 0), "it is locked");
    pass(seconds(59)).await;
    assert!(!drain(&connected).await);
    pass(seconds(1)).await;
    assert_eq!((drain(&connected).await, fetch().await), (true, 1));
}

/// Returns whether the connection is told to fetch messages.
async fn drain(device: &ConnectedDevice) -> bool {
    std::future::poll_fn(|cx| {
        let mut fetches = false;
        while let std::task::Poll::Ready(outgoing) = device.connection().poll_outgoing(cx) {
            fetches |= matches!(outgoing, Outgoing::Messages);
        }
        std::task::Poll::Ready(fetches)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_message_expires_and_its_sender_gets_feedback() {
    let (hub, device) = hub_with_device().await;
    send(&hub, "d", "short", Some(seconds(10))).await;
    send(&hub, "d", "default", None).await;
    send(&hub, "d", "long", Some(hours(48))).await;
    pass(Duration::from_millis(9_999)).await;
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(3));
    pass(Duration::from_millis(1)).await;
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(2));
    assert_eq!(next_text(&device).await.as_deref(), Some("default"));
    let service = hub.service().await;
    pass(seconds(15)).await;
    assert_eq!(outcomes(&service).await, [("short".to_owned(), FeedbackStatus::Expired)]);
    pass(hours(1)).await;
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(1));
    pass(hours(47)).await;
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(0));
    assert_eq!(next_text(&device).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_locked_message_expires_when_its_lock_ends() {
    let (hub, device) = hub_with_device().await;
    send(&hub, "d", "completed", Some(seconds(10))).await;
    send(&hub, "d", "forgotten", Some(seconds(10))).await;
    let (completed, _) = receive(&device).await.unwrap();
    receive(&device).await.unwrap();
    pass(seconds(30)).await;
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(2), "they are locked");
    settle(&device, &completed, Settlement::Complete).await.unwrap();
    pass(seconds(30)).await;
    assert_eq!(next_text(&device).await, None);
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(0));
    pass(seconds(15)).await;
    let expected = [
        ("completed".to_owned(), FeedbackStatus::Success),
        ("forgotten".to_owned(), FeedbackStatus::Expired),
    ];
    assert_eq!(outcomes(&hub.service().await).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_abandoned_too_often_is_dead_lettered() {
    let (hub, device) = hub_with_device().await;
    send(&hub, "d", "a", None).await;
    for _ in 0..10 {
        let (token, _) = receive(&device).await.unwrap();
        settle(&device, &token, Settlement::Abandon).await.unwrap();
    }
    assert_eq!(next_text(&device).await, None);
    pass(seconds(15)).await;
    let expected = [("a".to_owned(), FeedbackStatus::DeliveryCountExceeded)];
    assert_eq!(outcomes(&hub.service().await).await, expected);
}

#[tokio::test(start_paused = true)]
async fn locks_end_with_the_hub_and_messages_do_not() {
    let (hub, device) = hub_with_device().await;
    send(&hub, "d", "a", None).await;
    let (token, _) = receive(&device).await.unwrap();
    let hub = hub.crash().await;
    let device = hub.device("d").await;
    assert_eq!(settle(&device, &token, Settlement::Complete).await, Err(ErrorCode::DeviceMessageLockLost));
    assert_eq!(next_text(&device).await.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn messages_that_expired_while_the_hub_was_stopped_expire_at_its_start() {
    let (hub, _) = hub_with_device().await;
    send(&hub, "d", "a", Some(seconds(10))).await;
    hub.hub.background().stop().await;
    pass(seconds(20)).await;
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(1));
    let hub = hub.crash().await;
    pass(seconds(0)).await;
    assert_eq!(hub.see("d").await.cloud_to_device_message_count, Some(0));
}
