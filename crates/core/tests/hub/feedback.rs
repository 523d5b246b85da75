//! Feedback for the senders of messages: batches, locks that run out, expiry.

use std::time::Duration;

use ferrohub_core::ServiceCaller;
use ferrohub_core::cloud_to_device::{FeedbackBatch, Settlement};
use ferrohub_model::ErrorCode;

use crate::messages::send;
use crate::test_hub::{TestHub, hours, id, pass, seconds};

/// A hub with feedback on this number of messages, whose ids are numbers.
async fn hub_with_feedback(messages: u32) -> (TestHub, ServiceCaller) {
    let hub = TestHub::start().await;
    hub.create("d").await;
    add_feedback(&hub, 0..messages).await;
    let service = hub.service().await;
    (hub, service)
}

/// Adds feedback on messages with these ids.
pub(crate) async fn add_feedback(hub: &TestHub, numbers: std::ops::Range<u32>) {
    for number in numbers {
        send(hub, "d", &number.to_string(), None).await;
        hub.service().await.purge_messages(&id("d")).await.unwrap();
    }
}

async fn receive(service: &ServiceCaller) -> Option<FeedbackBatch> {
    service.receive_feedback().await.unwrap()
}

async fn settle(service: &ServiceCaller, batch: &FeedbackBatch, how: Settlement) -> Result<(), ErrorCode> {
    service.settle_feedback(&batch.token.to_string(), how).await.map_err(|error| error.code)
}

/// The id of the first message in a batch, and the number of records.
fn summary(batch: &FeedbackBatch) -> (&str, usize) {
    (&batch.records[0].original_message_id, batch.records.len())
}

#[tokio::test(start_paused = true)]
async fn records_wait_for_others_to_fill_the_batch() {
    let (hub, service) = hub_with_feedback(3).await;
    pass(Duration::from_millis(14_999)).await;
    assert_eq!(receive(&service).await, None);
    pass(Duration::from_millis(1)).await;
    let batch = receive(&service).await.unwrap();
    assert_eq!(summary(&batch), ("0", 3));
    settle(&service, &batch, Settlement::Complete).await.unwrap();
    add_feedback(&hub, 3..68).await;
    assert_eq!(summary(&receive(&service).await.unwrap()), ("3", 64), "a full batch does not wait");
    assert_eq!(receive(&service).await, None);
    pass(seconds(15)).await;
    assert_eq!(summary(&receive(&service).await.unwrap()), ("67", 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_delivered_again_when_its_lock_runs_out() {
    let (_hub, service) = hub_with_feedback(2).await;
    pass(seconds(15)).await;
    let first = receive(&service).await.unwrap();
    pass(Duration::from_millis(59_999)).await;
    assert_eq!(receive(&service).await, None);
    pass(Duration::from_millis(1)).await;
    assert_eq!(settle(&service, &first, Settlement::Complete).await, Err(ErrorCode::DeviceMessageLockLost));
    let second = receive(&service).await.unwrap();
    assert_eq!((second.sequence, &second.records), (first.sequence, &first.records));
    settle(&service, &second, Settlement::Complete).await.unwrap();
    assert_eq!(settle(&service, &second, Settlement::Complete).await, Err(ErrorCode::DeviceMessageLockLost));
    pass(hours(1)).await;
    assert_eq!(receive(&service).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_abandoned_too_often_is_removed() {
    let (_hub, service) = hub_with_feedback(1).await;
    pass(seconds(15)).await;
    for delivery in 0..10 {
        let batch = receive(&service).await.unwrap();
        assert_eq!(batch.delivery_count, delivery);
        settle(&service, &batch, Settlement::Abandon).await.unwrap();
    }
    assert_eq!(receive(&service).await, None);
}

#[tokio::test(start_paused = true)]
async fn feedback_expires() {
    let (hub, service) = hub_with_feedback(1).await;
    pass(hours(1)).await;
    assert_eq!(receive(&service).await, None);
    add_feedback(&hub, 1..2).await;
    pass(seconds(15)).await;
    assert_eq!(summary(&receive(&service).await.unwrap()), ("1", 1));
}
