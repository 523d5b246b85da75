//! Messages and feedback.

use bytes::Bytes;
use ferrohub_core::cloud_to_device::{
    AbandonOutcome, EnqueueOutcome, FeedbackOptions, NewMessage, QueueEntry,
};
use ferrohub_core::registry::DeviceFilter;
use ferrohub_core::store::Store;
use ferrohub_model::Timestamp;
use ferrohub_model::message::{Ack, FeedbackStatus, MessageProperties, SystemProperty};

use super::OpenStore;
use crate::Fixture;
use crate::changes::{create, delete};
use crate::samples::{id, identity};

const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
const FEEDBACK_OPTIONS: FeedbackOptions =
    FeedbackOptions { now: NOW, expiry: NOW.plus_millis(10_000), limit: 1000 };

/// Opens a store with the device `d` and its module `d/m`.
async fn open_with_devices(open: impl OpenStore) -> Fixture<dyn Store> {
    let store = open().await;
    for name in ["d", "d/m"] {
        assert_eq!(create(&**store, &identity(name), 10).await, Ok(()));
    }
    store
}

fn message(to: &str, text: &str) -> NewMessage {
    NewMessage {
        id: id(to),
        input: None,
        enqueued: NOW,
        expiry: NOW.plus_millis(1000),
        ack: Ack::Full,
        properties: MessageProperties {
            system: [(SystemProperty::MessageId, text.to_owned())].into(),
            application: [("a&b".to_owned(), "c=d é".to_owned())].into(),
        },
        body: Bytes::copy_from_slice(text.as_bytes()),
    }
}

async fn enqueue(store: &dyn Store, message: &NewMessage) -> u64 {
    match store.enqueue_messages(std::slice::from_ref(message), 50).await.unwrap()[..] {
        [EnqueueOutcome::Done(sequence)] => sequence,
        ref other => panic!("{other:?}"),
    }
}

async fn sequences(store: &dyn Store, of: &str) -> Vec<u64> {
    store.queued_messages(&id(of)).await.unwrap().iter().map(|message| message.sequence).collect()
}

async fn count(store: &dyn Store, of: &str) -> u32 {
    store.identity(&id(of)).await.unwrap().unwrap().messages
}

async fn feedback_records(store: &dyn Store) -> Vec<(String, FeedbackStatus)> {
    let records = store.feedback(0, 100).await.unwrap();
    records.into_iter().map(|record| (record.record.original_message_id, record.record.status_code)).collect()
}

pub async fn messages_are_read_back_unchanged_in_the_order_of_their_queue(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let first = message("d", "1");
    let mut second = message("d", "2");
    second.body = Bytes::from_static(b"\0\xff");
    second.ack = Ack::Negative;
    let mut third = message("d/m", "3");
    third.input = Some("in".to_owned());
    third.properties = MessageProperties::default();
    let (a, b, c) =
        (enqueue(store, &first).await, enqueue(store, &second).await, enqueue(store, &third).await);
    assert!(a < b && b < c);
    assert_eq!(sequences(store, "d").await, [a, b]);
    let size = third.body.len();
    let waiting = QueueEntry { sequence: c, expiry: third.expiry, size, is_input: true };
    assert_eq!(store.queued_messages(&id("d/m")).await.unwrap(), [waiting]);
    let read = store.messages(&[b, 999, a, c]).await.unwrap();
    let expected = [(b, second), (a, first), (c, third)];
    for (read, (sequence, message)) in read.iter().zip(&expected) {
        assert_eq!((read.sequence, read.delivery_count, &read.message), (*sequence, 0, message));
    }
    assert_eq!(read.len(), expected.len());
    assert_eq!((count(store, "d").await, count(store, "d/m").await), (2, 1));
    assert_eq!(store.twin(&id("d")).await.unwrap().unwrap().0.messages, 2);
    assert_eq!(store.devices(&DeviceFilter::default(), None, 10).await.unwrap()[0].messages, 2);
}

pub async fn a_queue_belongs_to_an_identity_and_has_a_limit(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let put = async |to, limit| store.enqueue_messages(&[message(to, "x")], limit).await.unwrap()[0];
    assert_eq!(put("e", 50).await, EnqueueOutcome::NotFound);
    assert_eq!(put("d/n", 50).await, EnqueueOutcome::NotFound);
    let first = put("d", 2).await;
    assert!(matches!(put("d", 2).await, EnqueueOutcome::Done(_)));
    assert_eq!(put("d", 2).await, EnqueueOutcome::Full);
    assert!(matches!(put("d/m", 2).await, EnqueueOutcome::Done(_)), "a module has a queue of its own");
    let EnqueueOutcome::Done(first) = first else { panic!() };
    assert_eq!(store.settle_messages(&[first], FeedbackStatus::Success, FEEDBACK_OPTIONS).await.unwrap(), 1);
    assert!(matches!(put("d", 2).await, EnqueueOutcome::Done(_)));
}

pub async fn messages_that_are_enqueued_together_keep_their_order(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let batch: Vec<NewMessage> = [("d", "1"), ("d/m", "2"), ("gone", "3"), ("d", "4"), ("d", "5")]
        .map(|(to, text)| message(to, text))
        .into();
    let outcomes = store.enqueue_messages(&batch, 2).await.unwrap();
    let [EnqueueOutcome::Done(one), EnqueueOutcome::Done(two), gone, EnqueueOutcome::Done(four), full] =
        outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!((gone, full), (EnqueueOutcome::NotFound, EnqueueOutcome::Full));
    assert!(one < four, "{one} {four}");
    assert_eq!((sequences(store, "d").await, sequences(store, "d/m").await), (vec![one, four], vec![two]));
    assert_eq!(store.enqueue_messages(&[], 2).await.unwrap(), []);
}

pub async fn a_sequence_number_is_never_reused(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let first = enqueue(store, &message("d", "1")).await;
    store.settle_messages(&[first], FeedbackStatus::Success, FEEDBACK_OPTIONS).await.unwrap();
    let second = enqueue(store, &message("d", "2")).await;
    assert!(second > first);
    delete(store, &id("d"), None).await.unwrap();
    create(store, &identity("d"), 10).await.unwrap();
    assert!(enqueue(store, &message("d", "3")).await > second);
}

pub async fn feedback_is_stored_once_and_only_if_the_sender_asked_for_it(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    for (name, ack) in
        [("none", Ack::None), ("good", Ack::Positive), ("bad", Ack::Negative), ("full", Ack::Full)]
    {
        for status in FeedbackStatus::ALL {
            let mut message = message("d", &format!("{name} {}", status.name()));
            message.ack = ack;
            let sequence = enqueue(store, &message).await;
            assert_eq!(store.settle_messages(&[sequence], status, FEEDBACK_OPTIONS).await.unwrap(), 1);
            assert_eq!(
                store.settle_messages(&[sequence], status, FEEDBACK_OPTIONS).await.unwrap(),
                0,
                "it is already settled"
            );
        }
    }
    let ids: Vec<String> = feedback_records(store).await.into_iter().map(|(id, _)| id).collect();
    let expected = [
        "good Success",
        "bad Expired",
        "bad DeliveryCountExceeded",
        "bad Rejected",
        "bad Purged",
        "full Success",
        "full Expired",
        "full DeliveryCountExceeded",
        "full Rejected",
        "full Purged",
    ];
    assert_eq!(ids, expected);
    let record = &store.feedback(0, 1).await.unwrap()[0];
    assert_eq!((record.record.device_id.as_str(), record.record.device_generation_id.as_str()), ("d", "17"));
    assert_eq!((record.record.enqueued_time_utc, record.delivery_count), (NOW, 0));
    assert_eq!(count(store, "d").await, 0);
}

pub async fn a_message_that_is_abandoned_too_often_is_dead_lettered(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let (first, second) =
        (enqueue(store, &message("d", "1")).await, enqueue(store, &message("d", "2")).await);
    for deliveries in 1..3 {
        assert_eq!(
            store.abandon_message(first, 3, FEEDBACK_OPTIONS).await.unwrap(),
            AbandonOutcome::Requeued
        );
        assert_eq!(store.messages(&[first]).await.unwrap()[0].delivery_count, deliveries);
    }
    assert_eq!(sequences(store, "d").await, [first, second], "it keeps its position");
    assert_eq!(
        store.abandon_message(first, 3, FEEDBACK_OPTIONS).await.unwrap(),
        AbandonOutcome::DeadLettered
    );
    assert_eq!(store.abandon_message(first, 3, FEEDBACK_OPTIONS).await.unwrap(), AbandonOutcome::NotFound);
    assert_eq!(feedback_records(store).await, [("1".to_owned(), FeedbackStatus::DeliveryCountExceeded)]);
}

pub async fn a_purge_removes_all_messages_of_one_queue(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    for number in 0..3 {
        enqueue(store, &message("d", &number.to_string())).await;
    }
    enqueue(store, &message("d/m", "m")).await;
    assert_eq!(store.purge_messages(&id("e"), FEEDBACK_OPTIONS).await.unwrap(), None);
    assert_eq!(store.purge_messages(&id("d"), FEEDBACK_OPTIONS).await.unwrap(), Some(3));
    assert_eq!(store.purge_messages(&id("d"), FEEDBACK_OPTIONS).await.unwrap(), Some(0));
    assert_eq!((count(store, "d").await, count(store, "d/m").await), (0, 1));
    assert!(feedback_records(store).await.iter().all(|(_, status)| *status == FeedbackStatus::Purged));
}

pub async fn expired_messages_are_found_in_the_order_of_their_expiry(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let mut sequences = Vec::new();
    for (to, millis) in [("d", 300), ("d", 100), ("d/m", 100), ("d", 500)] {
        let mut message = message(to, "x");
        message.expiry = NOW.plus_millis(millis);
        sequences.push(enqueue(store, &message).await);
    }
    let due = async |millis, after, top| {
        let due = store.expired_messages(NOW.plus_millis(millis), after, top).await.unwrap();
        due.into_iter().map(|due| (due.sequence, due.expiry, due.id.to_string())).collect::<Vec<_>>()
    };
    let start = (Timestamp::NEVER, 0);
    assert_eq!(due(99, start, 10).await, []);
    let first = due(300, start, 2).await;
    let at = |millis| NOW.plus_millis(millis);
    assert_eq!(first, [(sequences[1], at(100), "d".to_owned()), (sequences[2], at(100), "d/m".to_owned())]);
    assert_eq!(due(300, (at(100), sequences[2]), 2).await, [(sequences[0], at(300), "d".to_owned())]);
    assert_eq!(store.next_expiry(NOW).await.unwrap(), Some(at(100)));
    assert_eq!(store.next_expiry(at(300)).await.unwrap(), Some(at(500)));
    assert_eq!(store.next_expiry(at(500)).await.unwrap(), None);
    store.settle_messages(&sequences, FeedbackStatus::Expired, FEEDBACK_OPTIONS).await.unwrap();
    assert_eq!(store.next_expiry(NOW).await.unwrap(), Some(FEEDBACK_OPTIONS.expiry), "feedback expires too");
}

pub async fn feedback_is_removed_when_it_is_completed_abandoned_too_often_or_expired(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let mut sequences = Vec::new();
    for number in 0..5 {
        sequences.push(enqueue(store, &message("d", &number.to_string())).await);
    }
    store.settle_messages(&sequences, FeedbackStatus::Success, FEEDBACK_OPTIONS).await.unwrap();
    let numbers: Vec<u64> =
        store.feedback(0, 10).await.unwrap().iter().map(|record| record.sequence).collect();
    assert_eq!(numbers.len(), 5);
    assert_eq!(store.feedback(numbers[1], 2).await.unwrap()[0].sequence, numbers[2]);
    store.complete_feedback(&numbers[..1]).await.unwrap();
    store.abandon_feedback(&numbers[1..2], 2).await.unwrap();
    assert_eq!(store.feedback(0, 1).await.unwrap()[0].delivery_count, 1);
    store.abandon_feedback(&numbers[1..2], 2).await.unwrap();
    assert_eq!(store.feedback(0, 10).await.unwrap().len(), 3, "abandoned too often");
    assert_eq!(store.expire_feedback(FEEDBACK_OPTIONS.expiry.plus_millis(-1)).await.unwrap(), 0);
    assert_eq!(store.expire_feedback(FEEDBACK_OPTIONS.expiry).await.unwrap(), 3);
}

pub async fn the_oldest_feedback_is_removed_at_the_limit(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    let options = FeedbackOptions { limit: 3, ..FEEDBACK_OPTIONS };
    for number in 0..10 {
        let sequence = enqueue(store, &message("d", &number.to_string())).await;
        store.settle_messages(&[sequence], FeedbackStatus::Success, options).await.unwrap();
    }
    let ids: Vec<String> = feedback_records(store).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["7", "8", "9"]);
}

pub async fn messages_and_feedback_are_deleted_with_their_device(open: impl OpenStore) {
    let store = open_with_devices(open).await;
    let store = &**store;
    for to in ["d", "d/m"] {
        let sequence = enqueue(store, &message(to, "done")).await;
        store.settle_messages(&[sequence], FeedbackStatus::Success, FEEDBACK_OPTIONS).await.unwrap();
        enqueue(store, &message(to, "waits")).await;
    }
    delete(store, &id("d"), None).await.unwrap();
    assert_eq!(store.feedback(0, 10).await.unwrap(), []);
    create(store, &identity("d"), 10).await.unwrap();
    create(store, &identity("d/m"), 10).await.unwrap();
    assert_eq!((count(store, "d").await, sequences(store, "d/m").await), (0, vec![]));
    assert_eq!(store.next_expiry(NOW).await.unwrap(), None);
}
