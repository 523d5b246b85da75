//! What every event log does. Each test gets a new log with four partitions.

use ferrohub_core::store::StoreError;
use ferrohub_core::telemetry::{EventLog, EventSource, StoredEvent};
use ferrohub_model::Timestamp;

use crate::Fixture;
use crate::samples::batch;

/// Opens a log with a number of partitions.
pub trait OpenLog: AsyncFn(u16) -> Fixture<dyn EventLog> {}

impl<F: AsyncFn(u16) -> Fixture<dyn EventLog>> OpenLog for F {}

const NO_LIMIT: u64 = u64::MAX;
const LONG_AGO: Timestamp = Timestamp::from_unix_millis(0);

fn millis(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

async fn all(log: &dyn EventLog, partition: u16) -> Vec<StoredEvent> {
    log.read(partition, 0, 10_000, usize::MAX).await.unwrap()
}

async fn sequence_numbers(log: &dyn EventLog, partition: u16) -> Vec<u64> {
    all(log, partition).await.iter().map(|event| event.sequence).collect()
}

pub async fn events_are_read_back_unchanged_in_the_order_of_their_partition(open: impl OpenLog) {
    let log = open(4).await;
    assert_eq!(log.partitions(), 4);
    let mut first = batch(1, "dev/mod", 1000, &[b"a", b"\xff\x00", b""]);
    first.source = EventSource::TwinChange;
    first.identity.auth = None;
    let second = batch(1, "dev", 2000, &[b"b"]);
    assert_eq!(log.append(first.clone()).await.unwrap(), 3);
    assert_eq!(log.append(second.clone()).await.unwrap(), 4);
    assert_eq!(log.append(batch(3, "other", 500, &[b"c"])).await.unwrap(), 1);
    let events = all(&**log, 1).await;
    assert_eq!(events.len(), 4);
    for (index, event) in events.iter().enumerate() {
        let (from, at) = if index < 3 { (&first, index) } else { (&second, 0) };
        assert_eq!((event.partition, event.sequence), (1, index as u64));
        assert_eq!((event.enqueued, event.source), (from.now, from.source));
        assert_eq!(event.identity, from.identity);
        assert_eq!(event.properties, from.events[at].properties);
        assert_eq!(event.body, from.events[at].body);
    }
    assert_eq!(sequence_numbers(&**log, 3).await, [0]);
    assert!(all(&**log, 0).await.is_empty());
}

pub async fn a_read_is_bounded_and_returns_at_least_one_event(open: impl OpenLog) {
    let log = open(4).await;
    log.append(batch(0, "dev", 0, &[&[b'x'; 100][..]; 10])).await.unwrap();
    let read = async |from, events, bytes| log.read(0, from, events, bytes).await.unwrap().len();
    assert_eq!(read(0, 3, usize::MAX).await, 3);
    assert_eq!(read(8, 3, usize::MAX).await, 2);
    assert_eq!(read(10, 3, usize::MAX).await, 0);
    assert_eq!(read(NO_LIMIT, 3, usize::MAX).await, 0);
    assert_eq!(read(0, 10, 300).await, 3, "the event that reaches the limit is the last");
    assert_eq!(read(0, 10, 1).await, 1);
}

pub async fn times_never_decrease_within_a_partition(open: impl OpenLog) {
    let log = open(4).await;
    for time in [5000, 4000, 6000] {
        log.append(batch(0, "dev", time, &[b"x"])).await.unwrap();
    }
    let times: Vec<_> = all(&**log, 0).await.iter().map(|event| event.enqueued.unix_millis()).collect();
    assert_eq!(times, [5000, 5000, 6000]);
    log.append(batch(1, "dev", 1000, &[b"x"])).await.unwrap();
    assert_eq!(all(&**log, 1).await[0].enqueued, millis(1000), "each partition has its own time");
}

pub async fn an_event_is_found_by_its_time(open: impl OpenLog) {
    let log = open(4).await;
    assert_eq!(log.first_since(2, LONG_AGO).await.unwrap(), 0, "the partition is empty");
    for time in [1000, 2000, 2000, 2000, 3000] {
        log.append(batch(2, "dev", time, &[b"x"])).await.unwrap();
    }
    let find = async |time| log.first_since(2, millis(time)).await.unwrap();
    assert_eq!((find(0).await, find(1000).await, find(1001).await), (0, 0, 1));
    assert_eq!((find(2000).await, find(2001).await), (1, 4));
    assert_eq!((find(3000).await, find(3001).await), (4, 5));
    log.remove_oldest(millis(2000), NO_LIMIT).await.unwrap();
    assert_eq!((find(0).await, find(2001).await), (1, 4));
}

pub async fn retention_removes_old_events_and_keeps_sequence_numbers_and_times(open: impl OpenLog) {
    let log = open(4).await;
    log.append(batch(0, "dev", 1000, &[b"a", b"b"])).await.unwrap();
    log.append(batch(0, "dev", 2000, &[b"c"])).await.unwrap();
    log.append(batch(1, "dev", 1500, &[b"d"])).await.unwrap();
    let remove_before = async |time| {
        let mut removed = 0;
        loop {
            match log.remove_oldest(time, NO_LIMIT).await.unwrap() {
                0 => return removed,
                some => removed += some,
            }
        }
    };
    assert_eq!(remove_before(millis(1000)).await, 0, "only older events are removed");
    assert_eq!(remove_before(millis(1001)).await, 2);
    assert_eq!(sequence_numbers(&**log, 0).await, [2]);
    let state = log.state().await.unwrap();
    assert_eq!((state[0].begin, state[0].next), (2, 3));
    assert_eq!((state[0].oldest, state[0].last_enqueued), (Some(millis(2000)), Some(millis(2000))));
    assert_eq!(remove_before(millis(9000)).await, 2);
    let state = log.state().await.unwrap();
    assert_eq!((state[0].begin, state[0].next, state[0].bytes, state[0].oldest), (3, 3, 0, None));
    log.append(batch(0, "dev", 0, &[b"e"])).await.unwrap();
    let events = all(&**log, 0).await;
    assert_eq!((events[0].sequence, events[0].enqueued), (3, millis(2000)));
}

pub async fn a_log_that_is_too_large_loses_its_oldest_events_first(open: impl OpenLog) {
    let log = open(4).await;
    let one = batch(0, "dev", 0, &[&[0; 1000]]).bytes();
    for (partition, time) in [(0, 1), (1, 2), (0, 3), (1, 4), (2, 5)] {
        log.append(batch(partition, "dev", time, &[&[0; 1000]])).await.unwrap();
    }
    let total = async || log.state().await.unwrap().iter().map(|state| state.bytes).sum::<u64>();
    assert_eq!(total().await, 5 * one);
    let mut removed = 0;
    while let some @ 1.. = log.remove_oldest(LONG_AGO, 2 * one + 10).await.unwrap() {
        removed += some;
    }
    assert_eq!((removed, total().await), (3, 2 * one));
    assert!(sequence_numbers(&**log, 0).await.is_empty());
    assert_eq!((sequence_numbers(&**log, 1).await, sequence_numbers(&**log, 2).await), (vec![1], vec![0]));
}

pub async fn a_retention_step_removes_a_limited_number_of_events(open: impl OpenLog) {
    let log = open(4).await;
    log.append(batch(0, "dev", 1, &[&b"x"[..]; 2000])).await.unwrap();
    let removed = log.remove_oldest(millis(2), NO_LIMIT).await.unwrap();
    assert!((1..2000).contains(&removed), "{removed}");
    assert_eq!(log.state().await.unwrap()[0].begin, removed);
}

pub async fn a_reader_that_waits_for_the_next_event_is_notified(open: impl OpenLog) {
    let log = open(4).await;
    assert!(log.head(4).is_none());
    let mut head = log.head(1).unwrap();
    assert_eq!(*head.borrow_and_update(), 0);
    log.append(batch(0, "dev", 0, &[b"other"])).await.unwrap();
    assert!(!head.has_changed().unwrap());
    log.append(batch(1, "dev", 0, &[b"a", b"b"])).await.unwrap();
    assert_eq!(*head.borrow_and_update(), 2);
    // The caller of this append is cancelled; the reader is notified nevertheless.
    let append = log.append(batch(1, "dev", 0, &[b"c"]));
    let _ = futures_util::future::select(append, Box::pin(async {})).await;
    head.changed().await.unwrap();
    assert_eq!(*head.borrow_and_update(), 3);
    assert_eq!(sequence_numbers(&**log, 1).await, [0, 1, 2]);
}

pub async fn concurrent_writers_each_keep_their_order(open: impl OpenLog) {
    let log = open(4).await;
    let writers: Vec<_> = (0..16_u8)
        .map(|writer| {
            let log = log.clone();
            tokio::spawn(async move {
                for number in 0..20_u8 {
                    log.append(batch(0, "dev", 0, &[&[writer, number]])).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let events = all(&**log, 0).await;
    assert_eq!(events.len(), 320);
    for writer in 0..16 {
        let of_writer = events.iter().filter(|event| event.body[0] == writer).map(|event| event.body[1]);
        assert!(of_writer.eq(0..20));
    }
}

pub async fn a_closed_log_returns_closed(open: impl OpenLog) {
    let log = open(4).await;
    log.append(batch(0, "dev", 0, &[b"x"])).await.unwrap();
    log.close().await;
    assert!(matches!(log.append(batch(0, "dev", 0, &[b"x"])).await, Err(StoreError::Closed)));
    assert!(matches!(log.read(0, 0, 1, 1).await, Err(StoreError::Closed)));
}

pub async fn batches_are_appended_together_or_not_at_all(open: impl OpenLog) {
    let log = open(4).await;
    let head = log.head(2).unwrap();
    let both = vec![batch(1, "dev", 1000, &[b"a"]), batch(2, "dev", 1000, &[b"b", b"c"])];
    log.append_all(both.clone()).await.unwrap();
    log.append_all(both).await.unwrap();
    assert_eq!(
        (sequence_numbers(&**log, 1).await, sequence_numbers(&**log, 2).await),
        (vec![0, 1], vec![0, 1, 2, 3])
    );
    assert_eq!(*head.borrow(), 4);
    let to_unknown = vec![batch(1, "dev", 1000, &[b"d"]), batch(4, "dev", 1000, &[b"e"])];
    assert!(matches!(log.append_all(to_unknown).await, Err(StoreError::Failed(_))));
    assert!(matches!(log.append(batch(4, "dev", 1000, &[b"e"])).await, Err(StoreError::Failed(_))));
    assert!(log.first_since(4, LONG_AGO).await.is_err());
    assert_eq!(sequence_numbers(&**log, 1).await, [0, 1]);
    log.append_all(Vec::new()).await.unwrap();
}
