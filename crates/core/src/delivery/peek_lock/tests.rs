use futures_util::FutureExt as _;
use tokio::task::yield_now;

use super::*;
use crate::delivery::fake::{FakeError, FakeQueue, Item, LOCK, MAX_DELIVERIES, Outcome, Verdict};
use crate::delivery::guards::HandOut;
use crate::delivery::{Entry, HandOutLimit, Recipient};
use crate::metrics::counter;

/// The key of the queue in these tests.
const QUEUE: u8 = 7;

/// A queue with items of these deliveries, numbered from 1. Its store does not wait.
fn queue(deliveries: &[u32]) -> Arc<PeekLock<FakeQueue>> {
    let peek_lock = PeekLock::new(FakeQueue::default());
    let mut state = peek_lock.queue().state();
    for (sequence, deliveries) in (1..).zip(deliveries) {
        let item = Item { deliveries: *deliveries, expiry: Timestamp::from_unix_millis(1_000_000) };
        state.items.insert((QUEUE, sequence), item);
    }
    state.is_open = true;
    drop(state);
    peek_lock
}

/// Hands out all items that are available.
fn hand_out(peek_lock: &Arc<PeekLock<FakeQueue>>, recipient: Recipient<'_, FakeQueue>) -> HandOut<FakeQueue> {
    let entries: Vec<Entry> = {
        let state = peek_lock.queue().state();
        let entry = |((_, sequence), item): (&(u8, u64), &Item)| Entry {
            sequence: *sequence,
            expiry: Some(item.expiry),
            size: 1,
            deliveries: item.deliveries,
        };
        state.items.iter().map(entry).collect()
    };
    let limit = HandOutLimit { items: 9, bytes: 9, max_deliveries: MAX_DELIVERIES };
    peek_lock.read(&QUEUE).hand_out(recipient, &entries, limit)
}

/// Hands out and delivers all items that are available. Returns the token.
fn receive(peek_lock: &Arc<PeekLock<FakeQueue>>, expected: &[u64]) -> LockToken {
    let handed_out = hand_out(peek_lock, Recipient::Token(LOCK));
    let (token, until) = handed_out.lock.unwrap();
    assert_eq!(until, peek_lock.now().plus_millis(10_000));
    assert_eq!(handed_out.keep(|_| true), expected);
    token
}

fn notified(peek_lock: &PeekLock<FakeQueue>) -> u64 {
    peek_lock.queue().state().notified.get(&QUEUE).copied().unwrap_or_default()
}

/// Lets the oldest operation that waits go on.
async fn go_on(peek_lock: &PeekLock<FakeQueue>, verdict: Verdict) {
    while peek_lock.queue().state().gates.is_empty() {
        yield_now().await;
    }
    peek_lock.queue().state().gates.remove(0).send(verdict).unwrap();
}

#[tokio::test]
async fn completed_items_end_and_abandoned_ones_are_available_again() {
    let peek_lock = queue(&[0, 0]);
    let token = receive(&peek_lock, &[1, 2]);
    assert_eq!(peek_lock.settle_with_token(&QUEUE, token, Outcome::Abandon).await, Ok(Some(2)));
    assert_eq!(notified(&peek_lock), 1);
    assert_eq!(
        peek_lock.settle_with_token(&QUEUE, token, Outcome::Complete).await,
        Ok(None),
        "settled already"
    );
    let token = receive(&peek_lock, &[1, 2]);
    peek_lock.queue().state().items.remove(&(QUEUE, 1));
    let settled = peek_lock.settle_with_token(&QUEUE, token, Outcome::Complete).await;
    assert_eq!(settled, Ok(Some(1)), "one was purged");
    assert_eq!(notified(&peek_lock), 1, "nothing is available");
    assert!(peek_lock.queue().state().items.is_empty() && peek_lock.locks().is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_is_available_again_without_its_old_token() {
    for (verdict, panics) in [(Verdict::Fail, 0), (Verdict::Panic, 1)] {
        let peek_lock = queue(&[0]);
        let token = receive(&peek_lock, &[1]);
        peek_lock.queue().state().is_open = false;
        let settling = peek_lock.settle_with_token(&QUEUE, token, Outcome::Complete);
        let (settled, ()) = tokio::join!(settling, go_on(&peek_lock, verdict));
        assert_eq!((settled, notified(&peek_lock)), (Err(FakeError), 1));
        assert_eq!(counter(peek_lock.queue().panics(), "operation").get(), panics);
        assert_eq!(peek_lock.settle_with_token(&QUEUE, token, Outcome::Complete).await, Ok(None));
        receive(&peek_lock, &[1]);
    }
}

#[tokio::test]
async fn an_outcome_is_written_although_the_caller_is_cancelled_and_the_time_runs_out() {
    let peek_lock = queue(&[0]);
    let token = receive(&peek_lock, &[1]);
    peek_lock.queue().state().is_open = false;
    let cancelled = peek_lock.settle_with_token(&QUEUE, token, Outcome::Complete).now_or_never();
    assert!(cancelled.is_none());
    peek_lock.queue().clock.advance(10_000);
    peek_lock.time_out();
    assert_eq!(hand_out(&peek_lock, Recipient::Token(LOCK)).sequences(), [0; 0]);
    go_on(&peek_lock, Verdict::Succeed).await;
    go_on(&peek_lock, Verdict::Succeed).await;
    while !peek_lock.locks().is_empty() {
        yield_now().await;
    }
    assert!(peek_lock.queue().state().items.is_empty());
}

#[test]
fn what_is_dropped_before_it_is_delivered_is_available_again() {
    let peek_lock = queue(&[0, 0]);
    drop(peek_lock.read(&QUEUE));
    assert!(peek_lock.locks().is_empty());
    drop(hand_out(&peek_lock, Recipient::Token(LOCK)));
    assert_eq!(notified(&peek_lock), 1);
    let handed_out = hand_out(&peek_lock, Recipient::Token(LOCK));
    assert_eq!(handed_out.keep(|sequence| sequence == 2), [2], "the other does not exist any more");
    assert_eq!((notified(&peek_lock), peek_lock.locks().locked(&QUEUE)), (2, vec![2]));
}

#[test]
fn an_item_whose_time_runs_out_on_its_way_is_not_delivered() {
    let peek_lock = queue(&[0]);
    let late = hand_out(&peek_lock, Recipient::Token(LOCK));
    assert_eq!(peek_lock.next_timeout(), Some(Timestamp::from_unix_millis(10_000)));
    peek_lock.queue().clock.advance(10_000);
    // The next request releases it.
    let holder = peek_lock.holder(&QUEUE);
    let handed_out = hand_out(&peek_lock, Recipient::Holder(&holder));
    assert_eq!(notified(&peek_lock), 1);
    assert_eq!(late.keep(|_| true), [0; 0]);
    assert_eq!(handed_out.keep(|_| true), [1]);
    assert_eq!(peek_lock.next_timeout(), None);
}

#[tokio::test]
async fn a_holder_releases_what_it_has_not_settled() {
    let peek_lock = queue(&[0, 0, 0]);
    let holder = peek_lock.holder(&QUEUE);
    assert_eq!(*holder.key(), QUEUE);
    assert_eq!(hand_out(&peek_lock, Recipient::Holder(&holder)).keep(|_| true), [1, 2, 3]);
    let next = peek_lock.holder(&QUEUE);
    assert_eq!(hand_out(&peek_lock, Recipient::Holder(&next)).sequences(), [0; 0]);
    assert_eq!(next.settle(&[1], Outcome::Complete).await, Ok(0), "it has not received it");
    assert_eq!(holder.settle(&[1, 9], Outcome::Complete).await, Ok(1));
    assert_eq!(holder.settle(&[], Outcome::Complete).await, Ok(0));
    assert_eq!(notified(&peek_lock), 1, "the next holder waits, and is woken");
    holder.release(&[2]);
    assert_eq!((notified(&peek_lock), peek_lock.locks().locked(&QUEUE)), (2, vec![3]));
    drop(holder);
    assert_eq!(notified(&peek_lock), 3);
    assert_eq!(hand_out(&peek_lock, Recipient::Holder(&next)).keep(|_| true), [2, 3]);
}

#[tokio::test]
async fn items_that_were_delivered_too_often_are_dead_lettered() {
    let peek_lock = queue(&[MAX_DELIVERIES, MAX_DELIVERIES - 1]);
    let mut handed_out = hand_out(&peek_lock, Recipient::Token(LOCK));
    assert_eq!(handed_out.sequences(), [2]);
    drop(handed_out.exhausted.take());
    assert_eq!(peek_lock.locks().locked(&QUEUE), [2], "not dead-lettered, and not locked either");
    let mut handed_out = hand_out(&peek_lock, Recipient::Token(LOCK));
    let exhausted = handed_out.exhausted.take().unwrap();
    assert_eq!(exhausted.settle(Outcome::DeadLetter).await, Ok(1));
    assert_eq!(peek_lock.queue().state().dead_lettered, 1);
}

#[test]
fn the_hub_locks_what_no_receiver_has() {
    let peek_lock = queue(&[0, 0]);
    let token = receive(&peek_lock, &[1, 2]);
    let items = || [1, 2].map(|sequence| (QUEUE, sequence, Timestamp::from_unix_millis(1_000_000)));
    peek_lock.release_token(&QUEUE, token);
    peek_lock.queue().clock.advance(1_000_000);
    assert!(!peek_lock.queue().state().wakes_expiry);
    let locked = peek_lock.lock_for_hub(items());
    assert_eq!(locked.sequences(), [1, 2]);
    assert_eq!(peek_lock.lock_for_hub(items()).sequences(), [0; 0]);
    drop(locked);
    assert!(peek_lock.locks().is_empty());
    assert_eq!(notified(&peek_lock), 1, "they have expired: nobody can receive them");
}
