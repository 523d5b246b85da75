//! Services that wait for feedback: they are woken when there is something, one of them gets it, and they cost nothing.

use std::time::Duration;

use ferrohub_core::cloud_to_device::{FeedbackBatch, Settlement};
use ferrohub_core::limits::NotificationLimits;
use ferrohub_core::{HubSettings, ServiceCaller};
use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::feedback::add_feedback;
use crate::test_hub::{TestHub, hours, is_soon, pass, run_ready_tasks, seconds};

/// A service that waits. Returns what it gets, and when.
fn wait(service: &ServiceCaller) -> JoinHandle<(FeedbackBatch, Instant)> {
    let service = service.clone();
    tokio::spawn(async move { (service.next_feedback().await.unwrap(), Instant::now()) })
}

fn ids(batch: &FeedbackBatch) -> Vec<&str> {
    batch.records.iter().map(|record| record.original_message_id.as_str()).collect()
}

fn without_delay(settings: &mut HubSettings) {
    settings.limits.messages.feedback.delay = Duration::ZERO;
}

async fn hub_with_service(configure: fn(&mut HubSettings)) -> (TestHub, ServiceCaller) {
    let hub = TestHub::start_with(configure).await;
    hub.create("d").await;
    let service = hub.service().await;
    (hub, service)
}

#[tokio::test(start_paused = true)]
async fn a_service_is_woken_by_new_released_and_abandoned_feedback() {
    let (hub, service) = hub_with_service(without_delay).await;
    let waiting = wait(&service);
    pass(hours(5)).await;
    assert!(!waiting.is_finished());
    let began = Instant::now();
    add_feedback(&hub, 1..2).await;
    let (batch, at) = waiting.await.unwrap();
    assert_eq!(ids(&batch), ["1"]);
    assert!(is_soon(at - began));
    let waiting = wait(&service);
    pass(seconds(30)).await;
    assert!(!waiting.is_finished(), "it is locked");
    service.release_feedback(batch.token).unwrap();
    let (again, _) = waiting.await.unwrap();
    assert_eq!((ids(&again), again.delivery_count), (vec!["1"], 0), "a release does not count");
    let waiting = wait(&service);
    run_ready_tasks().await;
    let began = Instant::now();
    service.settle_feedback(&again.token.to_string(), Settlement::Abandon).await.unwrap();
    let (again, at) = waiting.await.unwrap();
    assert_eq!((ids(&again), again.delivery_count), (vec!["1"], 1));
    assert!(is_soon(at - began));
    service.settle_feedback(&again.token.to_string(), Settlement::Complete).await.unwrap();
    // A release after that has no effect.
    service.release_feedback(again.token).unwrap();
    let waiting = wait(&service);
    pass(hours(1)).await;
    assert!(!waiting.is_finished(), "nothing is left");
    // A waiter that gives up takes nothing with it.
    waiting.abort();
    add_feedback(&hub, 2..3).await;
    assert_eq!(ids(&wait(&service).await.unwrap().0), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_feedback_when_its_delay_or_a_lock_is_over() {
    let (hub, service) = hub_with_service(|_| ()).await;
    let waiting = wait(&service);
    run_ready_tasks().await;
    let began = Instant::now();
    add_feedback(&hub, 1..3).await;
    let (batch, at) = waiting.await.unwrap();
    assert_eq!((ids(&batch), at - began), (vec!["1", "2"], seconds(15)), "they waited for each other");
    let (again, again_at) = wait(&service).await.unwrap();
    assert_eq!((ids(&again), again_at - at), (vec!["1", "2"], seconds(60)), "the lock ran out");
    assert_ne!(again.token, batch.token);
}

#[tokio::test(start_paused = true)]
async fn one_of_many_waiting_services_gets_each_batch() {
    let (hub, service) = hub_with_service(without_delay).await;
    let waiting: Vec<_> = (0..4).map(|_| wait(&service)).collect();
    for number in 0..3 {
        add_feedback(&hub, number..number + 1).await;
        pass(seconds(1)).await;
    }
    let (finished, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(JoinHandle::is_finished);
    assert_eq!(left.len(), 1, "three batches for four waiters");
    let mut received = Vec::new();
    for batch in finished {
        received.extend(ids(&batch.await.unwrap().0).into_iter().map(str::to_owned));
    }
    received.sort_unstable();
    assert_eq!(received, ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn services_that_wait_cost_no_reads_and_no_writes() {
    let (hub, service) = hub_with_service(|settings| {
        settings.limits.files.notifications = Some(NotificationLimits::default());
    })
    .await;
    for _ in 0..5 {
        let (feedback, files) = (service.clone(), service.clone());
        tokio::spawn(async move { feedback.next_feedback().await });
        tokio::spawn(async move { files.next_file_notification().await });
    }
    // Locks of an earlier process may end within this time.
    pass(seconds(120)).await;
    let before = hub.store.calls();
    pass(hours(24)).await;
    // What the hub does anyway: once a minute, it looks for expired uploads and notifications, and renews its lease.
    let minutes = 24 * 60;
    let calls = hub.store.calls() - before;
    assert!(calls <= 3 * minutes, "{calls} reads and writes");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stops_in_the_middle_does_not_keep_the_others_waiting() {
    let (hub, service) = hub_with_service(without_delay).await;
    add_feedback(&hub, 1..2).await;
    // It looks for feedback, and is not polled any more: its client does not read.
    let mut stalled = Box::pin(service.next_feedback());
    assert!(stalled.as_mut().now_or_never().is_none());
    let waiting = wait(&service);
    pass(seconds(1)).await;
    drop(stalled);
    let (batch, _) = tokio::time::timeout(seconds(5), waiting).await.expect("it gets the batch").unwrap();
    assert_eq!(ids(&batch), ["1"]);
    let mut stalled = Box::pin(service.next_feedback());
    assert!(stalled.as_mut().now_or_never().is_none());
    pass(seconds(1)).await;
    let other = wait(&service);
    add_feedback(&hub, 2..3).await;
    let got = tokio::time::timeout(seconds(5), other).await.expect("the stalled one has no turn").unwrap();
    assert_eq!(ids(&got.0), ["2"]);
}
