use super::*;

const DAY: i64 = 86_400_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

/// An item that expires after a day.
fn item(sequence: u64, size: usize) -> Entry {
    Entry { sequence, expiry: Some(at(DAY)), size, deliveries: 0 }
}

fn limit(items: usize, bytes: usize) -> HandOutLimit {
    HandOutLimit { items, bytes, max_deliveries: 3 }
}

fn token(until: i64) -> (LockToken, LockOwner) {
    let token = LockToken::generate();
    (token, LockOwner::Token { token, until: at(until) })
}

fn acquired(sequences: &[u64], more: bool) -> Acquired {
    Acquired { sequences: sequences.to_vec(), exhausted: Vec::new(), more }
}

/// The locks of one queue, whose key is `"q"`.
#[derive(Default)]
struct Queue(Locks<&'static str>);

impl Queue {
    /// Reads, acquires and delivers in one step.
    fn acquire(&mut self, owner: LockOwner, entries: &[Entry], items: usize, now: i64) -> Acquired {
        self.acquire_limited(owner, entries, limit(items, usize::MAX), now)
    }

    fn acquire_limited(
        &mut self,
        owner: LockOwner,
        entries: &[Entry],
        limit: HandOutLimit,
        now: i64,
    ) -> Acquired {
        let read = self.0.begin_read(&"q");
        let acquired = self.0.acquire(&"q", read, owner, entries, limit, at(now));
        self.0.end_read(&"q", read);
        for sequence in &acquired.sequences {
            assert!(self.0.deliver(&"q", owner, *sequence));
        }
        acquired
    }

    fn release(&mut self, owner: LockOwner, sequences: &[u64]) -> Released {
        self.0.release(&"q", owner, sequences, LockState::Delivered, at(0))
    }
}

const FIRST: LockOwner = LockOwner::Holder(1);
const SECOND: LockOwner = LockOwner::Holder(2);

fn released(items: usize) -> Released {
    Released { items, available: true, ..Released::default() }
}

#[test]
fn a_hand_out_is_limited_in_items_and_bytes_but_gets_at_least_one() {
    let mut queue = Queue::default();
    let entries = [item(1, 100), item(2, 60), item(3, 50), item(4, 1)];
    let mut acquire = |items, bytes| queue.acquire_limited(FIRST, &entries, limit(items, bytes), 0);
    assert_eq!(acquire(9, 80), acquired(&[1], true));
    assert_eq!(acquire(9, 110), acquired(&[2, 3], true));
    assert_eq!(acquire(1, 110), acquired(&[4], false));
    assert_eq!(acquire(9, 110), acquired(&[], false));
}

#[test]
fn an_expired_item_is_not_handed_out() {
    let mut queue = Queue::default();
    assert_eq!(queue.acquire(FIRST, &[item(1, 1)], 9, DAY), acquired(&[], false));
    assert!(queue.0.is_empty());
    let without_expiry = Entry { expiry: None, ..item(2, 1) };
    assert_eq!(queue.acquire(FIRST, &[without_expiry], 9, DAY), acquired(&[2], false));
    assert_eq!(queue.0.release_all(&"q", FIRST, at(2 * DAY)), released(1));
}

#[test]
fn an_item_that_was_delivered_too_often_is_locked_for_the_hub() {
    let mut queue = Queue::default();
    let entries = [2, 3, 4, 0].map(|deliveries| Entry {
        sequence: 10 + u64::from(deliveries),
        deliveries,
        ..item(0, 1)
    });
    let first = Acquired { sequences: vec![12], exhausted: vec![13, 14], more: true };
    assert_eq!(queue.acquire(FIRST, &entries, 1, 0), first);
    assert!(!queue.0.begin_settle(&"q", 1, 13), "its owner is the hub");
    assert_eq!(queue.0.release_all(&"q", FIRST, at(0)).items, 1);
    assert_eq!(queue.0.locked(&"q"), [13, 14]);
    assert_eq!(queue.0.end(&"q", &[13, 14], false, at(0)), Released { items: 2, ..Released::default() });
    assert!(queue.0.is_empty());
}

#[test]
fn a_newer_holder_waits_until_the_older_one_releases_its_items() {
    let mut queue = Queue::default();
    let entries = [item(1, 1), item(2, 1)];
    assert_eq!(queue.acquire(FIRST, &entries, 1, 0).sequences, [1]);
    // The second item is not available either, because the first one must be delivered before it.
    assert_eq!(queue.acquire(SECOND, &entries, 9, 0), acquired(&[], false));
    let (_, by_token) = token(60_000);
    assert_eq!(
        queue.acquire(by_token, &entries, 9, 0).sequences,
        [2],
        "a receiver without a connection gets it"
    );
    assert_eq!(queue.0.release_all(&"q", FIRST, at(0)), Released { had_waiter: true, ..released(1) });
    assert_eq!(queue.acquire(SECOND, &entries, 9, 0).sequences, [1]);
}

#[test]
fn an_item_being_settled_stays_locked_when_its_owner_ends() {
    let mut queue = Queue::default();
    let entries = [item(1, 1), item(2, 1)];
    queue.acquire(FIRST, &entries, 9, 0);
    assert!(!queue.0.begin_settle(&"q", 2, 1), "another holder owns the lock");
    assert!(!queue.0.begin_settle(&"other", 1, 1), "it is in another queue");
    assert!(queue.0.begin_settle(&"q", 1, 1));
    assert!(!queue.0.begin_settle(&"q", 1, 1), "already being settled");
    assert_eq!(queue.release(FIRST, &[1]), Released::default());
    assert_eq!(queue.0.release_all(&"q", FIRST, at(0)).items, 1);
    assert!(!queue.0.acquire_for_hub(&"q", 1, at(DAY).into()));
    assert_eq!(queue.acquire(SECOND, &entries, 9, 0), acquired(&[], false));
    assert_eq!(
        queue.0.end(&"q", &[1], false, at(0)),
        Released { items: 1, had_waiter: true, ..Released::default() }
    );
    assert!(queue.0.is_empty());
}

#[test]
fn some_items_of_a_holder_are_released() {
    let mut queue = Queue::default();
    queue.acquire(FIRST, &[item(1, 1), item(2, 1), item(3, 1)], 9, 0);
    assert_eq!(queue.release(SECOND, &[1]), Released::default(), "another holder owns the lock");
    assert_eq!(queue.release(FIRST, &[1, 3, 7]), released(2));
    assert_eq!(queue.0.locked(&"q"), [2]);
}

#[test]
fn a_token_is_invalid_after_its_lock_has_run_out() {
    let mut queue = Queue::default();
    let (old, owner) = token(60_000);
    let entries = [item(1, 1), item(2, 1)];
    assert_eq!(queue.acquire(owner, &entries, 2, 0).sequences, [1, 2]);
    assert_eq!(queue.0.next_timeout(), Some(at(60_000)));
    assert_eq!(queue.0.time_out(at(59_999)), []);
    // The clock decides, even before `time_out` runs.
    assert_eq!(queue.0.begin_settle_with_token(&"q", old, at(60_000)), None);
    assert_eq!(queue.0.time_out(at(60_000)), [("q", Released { timed_out: true, ..released(2) })]);
    assert!(queue.0.is_empty());
    let (new, owner) = token(120_000);
    queue.acquire(owner, &entries, 2, 60_000);
    assert_eq!(queue.0.begin_settle_with_token(&"q", old, at(60_001)), None);
    assert_eq!(queue.0.begin_settle_with_token(&"other", new, at(60_001)), None, "it is for another queue");
    assert_eq!(queue.0.begin_settle_with_token(&"q", new, at(60_001)), Some(vec![1, 2]));
    assert_eq!(queue.0.begin_settle_with_token(&"q", new, at(60_001)), None, "already being settled");
    // A lock does not run out, and is not released, while the outcome is being written.
    assert_eq!((queue.0.next_timeout(), queue.0.time_out(at(DAY - 1))), (None, vec![]));
    assert_eq!(queue.0.release_token(&"q", new, at(DAY - 1)), Released::default());
    assert_eq!(queue.0.end(&"q", &[1, 2], true, at(DAY - 1)), released(2));
    assert!(queue.0.is_empty());
}

#[test]
fn items_received_with_a_token_are_released() {
    let mut queue = Queue::default();
    let (first, owner) = token(60_000);
    queue.acquire(owner, &[item(1, 1), item(2, 1)], 2, 0);
    let (second, owner) = token(70_000);
    queue.acquire(owner, &[item(3, 1)], 1, 0);
    assert_eq!(queue.0.end(&"q", &[2], true, at(0)), released(1), "one of two was not delivered");
    assert_eq!(queue.0.begin_settle_with_token(&"q", first, at(1)), Some(vec![1]));
    assert_eq!(queue.0.release_token(&"q", second, at(1)), released(1));
    assert_eq!(queue.0.release_token(&"q", second, at(1)), Released::default());
    assert_eq!(queue.0.end(&"q", &[1], false, at(1)).items, 1);
    assert!(queue.0.is_empty());
}

#[test]
fn releasing_an_expired_item_reports_the_expiry() {
    let mut queue = Queue::default();
    queue.acquire(FIRST, &[item(1, 1)], 9, 0);
    assert!(!queue.0.acquire_for_hub(&"q", 1, Some(at(DAY))), "the item is locked");
    assert!(queue.0.release_all(&"q", FIRST, at(DAY)).expired);
    assert!(queue.0.acquire_for_hub(&"q", 1, Some(at(DAY))));
    assert!(!queue.0.end(&"q", &[1], false, at(DAY)).expired, "the hub knows");
}

#[test]
fn an_item_whose_lock_ended_during_a_read_and_those_behind_it_are_not_handed_out() {
    let mut queue = Queue::default();
    let entries = [item(1, 1), item(2, 1), item(3, 1)];
    queue.acquire(FIRST, &entries[1..2], 9, 0);
    let older = queue.0.begin_read(&"q");
    assert!(queue.0.begin_settle(&"q", 1, 2));
    queue.0.end(&"q", &[2], false, at(0));
    let newer = queue.0.begin_read(&"q");
    // The older read may still have seen the second item, which is settled now.
    let (_, owner) = token(60_000);
    let acquire = |queue: &mut Queue, read| {
        let acquired = queue.0.acquire(&"q", read, owner, &entries, limit(9, 9), at(0));
        queue.0.end(&"q", &acquired.sequences, true, at(0));
        acquired
    };
    assert_eq!(acquire(&mut queue, older), acquired(&[1], true));
    queue.0.end_read(&"q", older);
    // The newer one began after that lock ended. Its own lock on the first item has ended since.
    assert_eq!(acquire(&mut queue, newer), acquired(&[], true));
    queue.0.end_read(&"q", newer);
    assert!(queue.0.is_empty());
    assert_eq!(queue.acquire(owner, &entries, 9, 0), acquired(&[1, 2, 3], false));
}

#[test]
fn what_ended_is_forgotten_with_the_reads_that_it_matters_to() {
    let mut queue = Queue::default();
    let mut read = queue.0.begin_read(&"q");
    for sequence in 0..100 {
        assert!(queue.0.acquire_for_hub(&"q", sequence, None));
        queue.0.end(&"q", &[sequence], false, at(0));
        // There is always a read, but each ends.
        let next = queue.0.begin_read(&"q");
        queue.0.end_read(&"q", read);
        read = next;
        assert!(queue.0.queues["q"].ended.len() <= 1);
    }
    queue.0.end_read(&"q", read);
    assert!(queue.0.is_empty());
}

#[test]
fn only_what_was_delivered_is_settled_or_released() {
    let mut queue = Queue::default();
    let entries = [item(1, 1), item(2, 1)];
    let acquire = |queue: &mut Queue, owner| {
        let read = queue.0.begin_read(&"q");
        let acquired = queue.0.acquire(&"q", read, owner, &entries, limit(9, 9), at(0));
        queue.0.end_read(&"q", read);
        acquired.sequences
    };
    assert_eq!(acquire(&mut queue, FIRST), [1, 2]);
    assert!(!queue.0.begin_settle(&"q", 1, 1));
    assert_eq!(queue.release(FIRST, &[1]), Released::default());
    assert!(!queue.0.deliver(&"q", SECOND, 1), "another holder owns the lock");
    assert!(queue.0.deliver(&"q", FIRST, 1));
    assert!(!queue.0.deliver(&"q", FIRST, 1), "delivered already");
    assert_eq!(queue.0.release(&"q", FIRST, &[1, 2], LockState::Undelivered, at(0)), released(1));
    assert_eq!(queue.0.locked(&"q"), [1]);
    assert_eq!(queue.release(FIRST, &[1]), released(1));

    // The time of a lock also runs out before the delivery, and a holder may end.
    let (token, owner) = token(60_000);
    assert_eq!(acquire(&mut queue, owner), [1, 2]);
    assert_eq!(queue.0.begin_settle_with_token(&"q", token, at(0)), None);
    assert_eq!(queue.0.time_out(at(60_000)).len(), 1);
    assert!(!queue.0.deliver(&"q", owner, 1));
    assert_eq!(acquire(&mut queue, FIRST), [1, 2]);
    assert_eq!(queue.0.release_all(&"q", FIRST, at(0)), released(2));
    assert!(!queue.0.deliver(&"q", FIRST, 1));
    assert!(queue.0.is_empty());
}

#[test]
fn queues_are_independent() {
    let mut locks = Locks::default();
    for key in ["a", "b"] {
        let read = locks.begin_read(&key);
        let acquired = locks.acquire(&key, read, FIRST, &[item(1, 1)], limit(1, 1), at(0));
        assert_eq!(acquired.sequences, [1]);
        locks.end_read(&key, read);
    }
    assert_eq!(locks.release_all(&"a", FIRST, at(0)).items, 1);
    assert_eq!((locks.locked(&"a"), locks.locked(&"b")), (vec![], vec![1]));
}
