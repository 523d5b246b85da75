//! Notifications of uploaded files: locks that run out, expiry.

use std::time::Duration;

use ferrohub_core::files::LockedNotification;
use ferrohub_core::limits::NotificationLimits;
use ferrohub_core::{HubSettings, ServiceCaller};
use ferrohub_model::ErrorCode;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::test_hub::{TestHub, hours, is_soon, pass, run_ready_tasks, seconds};
use crate::uploads::upload;

fn with_notifications(settings: &mut HubSettings) {
    settings.limits.files.notifications =
        Some(NotificationLimits { max_deliveries: 3, max_queued: 4, ..NotificationLimits::default() });
}

/// A hub with notifications of these files.
async fn hub_with_uploads(names: &[&str]) -> (TestHub, ServiceCaller) {
    let hub = TestHub::start_with(with_notifications).await;
    hub.create("d").await;
    for name in names {
        upload(&hub, "d", name).await;
    }
    let service = hub.service().await;
    (hub, service)
}

async fn receive(service: &ServiceCaller) -> Option<LockedNotification> {
    service.receive_file_notification().await.unwrap()
}

async fn next_name(service: &ServiceCaller) -> Option<String> {
    receive(service).await.map(|locked| locked.notification.blob_name)
}

#[tokio::test(start_paused = true)]
async fn a_notification_is_delivered_again_when_its_lock_runs_out() {
    let (_hub, service) = hub_with_uploads(&["a", "b"]).await;
    let first = receive(&service).await.unwrap();
    assert_eq!(first.notification.blob_name, "d/a");
    assert_eq!(next_name(&service).await.as_deref(), Some("d/b"));
    pass(Duration::from_millis(59_998)).await;
    assert_eq!(next_name(&service).await, None);
    pass(seconds(1)).await;
    let again = receive(&service).await.unwrap();
    assert_eq!(again.notification, first.notification);
    let late = service.complete_file_notification(&first.token.to_string()).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::DeviceMessageLockLost);
    service.complete_file_notification(&again.token.to_string()).await.unwrap();
    let b = receive(&service).await.unwrap();
    service.abandon_file_notification(&b.token.to_string()).await.unwrap();
    assert_eq!(next_name(&service).await.as_deref(), Some("d/b"), "abandoned, it is delivered at once");
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_nobody_completes_is_removed() {
    let (hub, service) = hub_with_uploads(&["expires"]).await;
    pass(hours(1)).await;
    assert_eq!(next_name(&service).await, None, "it has expired");
    upload(&hub, "d", "delivered").await;
    for _ in 0..3 {
        assert_eq!(next_name(&service).await.as_deref(), Some("d/delivered"));
        pass(seconds(61)).await;
    }
    assert_eq!(next_name(&service).await, None, "it was delivered three times");
    upload(&hub, "d", "abandoned").await;
    for _ in 0..3 {
        let locked = receive(&service).await.unwrap();
        service.abandon_file_notification(&locked.token.to_string()).await.unwrap();
    }
    assert_eq!(next_name(&service).await, None, "it was abandoned three times");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_notifications_are_removed_at_the_limit() {
    let (_hub, service) = hub_with_uploads(&["a", "b", "c", "d", "e", "f"]).await;
    assert_eq!(next_name(&service).await.as_deref(), Some("d/c"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_waits_gets_a_notification_as_soon_as_there_is_one() {
    let (hub, service) = hub_with_uploads(&[]).await;
    let waiting = |service: &ServiceCaller| {
        let service = service.clone();
        tokio::spawn(async move { (service.next_file_notification().await.unwrap(), Instant::now()) })
    };
    let first = waiting(&service);
    pass(hours(5)).await;
    assert!(!first.is_finished());
    let began = Instant::now();
    upload(&hub, "d", "a").await;
    let (_, at) = first.await.unwrap();
    assert!(is_soon(at - began));
    let (again, at) = waiting(&service).await.unwrap();
    assert_eq!(again.notification.blob_name, "d/a");
    let waited = at - began;
    assert!((seconds(60)..=seconds(61)).contains(&waited), "until the lock runs out: {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_a_locked_notification_is_delivered_again_at_once() {
    let (hub, service) = hub_with_uploads(&["a"]).await;
    let locked = receive(&service).await.unwrap();
    let hub = hub.crash().await;
    let service = hub.service().await;
    let late = service.complete_file_notification(&locked.token.to_string()).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::DeviceMessageLockLost);
    let again = receive(&service).await.unwrap();
    assert_eq!(again.notification, locked.notification);
    service.complete_file_notification(&again.token.to_string()).await.unwrap();
    assert_eq!(next_name(&service).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_goes_away_while_it_receives_leaves_nothing_locked() {
    let (_hub, service) = hub_with_uploads(&["a"]).await;
    // It goes away as soon as the delivery is written, before it gets the notification.
    let mut gone = Box::pin(service.next_file_notification());
    assert!(gone.as_mut().now_or_never().is_none());
    run_ready_tasks().await;
    assert!(gone.as_mut().now_or_never().is_none());
    drop(gone);
    let locked = receive(&service).await.unwrap();
    service.abandon_file_notification(&locked.token.to_string()).await.unwrap();
    assert_eq!(
        next_name(&service).await.as_deref(),
        Some("d/a"),
        "the third delivery counts as the last one"
    );
    pass(seconds(61)).await;
    assert_eq!(next_name(&service).await, None);
}

#[tokio::test(start_paused = true)]
async fn of_many_services_that_wait_each_gets_a_notification() {
    let (hub, service) = hub_with_uploads(&[]).await;
    let waiting = (0..3).map(|_| {
        let service = service.clone();
        tokio::spawn(async move { service.next_file_notification().await.unwrap() })
    });
    let waiting: Vec<_> = waiting.collect();
    pass(seconds(1)).await;
    for name in ["a", "b", "c"] {
        upload(&hub, "d", name).await;
    }
    let mut names = Vec::new();
    for received in waiting {
        names.push(received.await.unwrap().notification.blob_name);
    }
    names.sort();
    assert_eq!(names, ["d/a", "d/b", "d/c"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stops_in_the_middle_does_not_keep_the_others_waiting() {
    let (hub, service) = hub_with_uploads(&["a", "b"]).await;
    // It looks for a notification, and is not polled any more: its client does not read.
    let mut stalled = Box::pin(service.next_file_notification());
    assert!(stalled.as_mut().now_or_never().is_none());
    let others = async {
        run_ready_tasks().await;
        next_name(&service).await
    };
    assert_eq!(tokio::time::timeout(seconds(5), others).await.expect("it gets one").as_deref(), Some("d/b"));
    drop(stalled);
    run_ready_tasks().await;
    assert_eq!(next_name(&service).await.as_deref(), Some("d/a"), "nothing stays locked");
    drop(hub);
}
