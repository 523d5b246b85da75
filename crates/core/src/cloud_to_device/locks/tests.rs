use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400_000;

fn id() -> IdentityId {
    IdentityId::parse("d").unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn queued(sequence: u64, size: usize) -> QueueEntry {
    QueueEntry { sequence, expiry: at(DAY), size, is_input: false }
}

fn fetch_limit(messages: usize) -> FetchLimit {
    FetchLimit { messages, bytes: usize::MAX }
}

fn lock(until: i64) -> (LockToken, LockOwner) {
    let token = LockToken::generate();
    (token, LockOwner::Token { token, until: at(until) })
}

#[test]
fn a_fetch_is_limited_in_messages_and_bytes_but_gets_at_least_one() {
    let mut locks = Locks::default();
    let queue: Vec<QueueEntry> = [(1, 100), (2, 60), (3, 50), (4, 1)].map(|(s, size)| queued(s, size)).into();
    let mut acquire = |messages, bytes| {
        locks.acquire(&id(), LockOwner::Receiver(1), queue.clone(), FetchLimit { messages, bytes }, at(0))
    };
    assert_eq!(acquire(9, 80), Locked { sequences: vec![1], more: true });
    assert_eq!(acquire(9, 110), Locked { sequences: vec![2, 3], more: true });
    assert_eq!(acquire(1, 110), Locked { sequences: vec![4], more: false });
    assert_eq!(acquire(9, 110), Locked::default());
}

#[test]
fn an_expired_message_is_not_locked() {
    let mut locks = Locks::default();
    let queue = [queued(1, 1)];
    assert_eq!(
        locks.acquire(&id(), LockOwner::Receiver(1), queue, fetch_limit(9), at(DAY)),
        Locked::default()
    );
    assert!(locks.queues.is_empty());
}

#[test]
fn a_newer_connection_waits_until_the_older_one_releases_its_messages() {
    let mut locks = Locks::default();
    let queue = [queued(1, 1), queued(2, 1)];
    assert_eq!(locks.acquire(&id(), LockOwner::Receiver(1), queue, fetch_limit(1), at(0)).sequences, [1]);
    // The second message is not available either, because the first one must be delivered before it.
    assert_eq!(locks.acquire(&id(), LockOwner::Receiver(2), queue, fetch_limit(9), at(0)), Locked::default());
    let released = locks.release_all(&id(), 1, at(0));
    assert_eq!(released, Released { messages: 1, had_waiter: true, expired: false });
    assert_eq!(locks.acquire(&id(), LockOwner::Receiver(2), queue, fetch_limit(9), at(0)).sequences, [1, 2]);
}

#[test]
fn a_message_being_settled_stays_locked_when_its_owner_ends() {
    let mut locks = Locks::default();
    let queue = [queued(1, 1), queued(2, 1)];
    locks.acquire(&id(), LockOwner::Receiver(1), queue, fetch_limit(9), at(0));
    assert!(!locks.begin_settle(&id(), 2, 1), "another receiver owns the lock");
    assert!(locks.begin_settle(&id(), 1, 1));
    assert!(!locks.begin_settle(&id(), 1, 1), "already being settled");
    assert_eq!(locks.release_all(&id(), 1, at(0)).messages, 1);
    assert!(!locks.acquire_expired(&id(), 1, at(DAY)));
    assert_eq!(locks.acquire(&id(), LockOwner::Receiver(2), queue, fetch_limit(9), at(0)), Locked::default());
    assert_eq!(
        locks.finish_settle(&id(), &[1], at(0)),
        Released { messages: 1, had_waiter: true, expired: false }
    );
    assert!(locks.queues.is_empty());
}

#[test]
fn a_token_is_invalid_after_its_lock_expires() {
    let mut locks = Locks::default();
    let (token, owner) = lock(60_000);
    let queue = [queued(1, 1)];
    assert_eq!(locks.acquire(&id(), owner, queue, fetch_limit(1), at(0)).sequences, [1]);
    assert_eq!(locks.next_expiry(), Some(at(60_000)));
    assert_eq!(locks.expire_locks(at(59_999)), []);
    // The clock decides, even before `expire_locks` runs.
    assert_eq!(locks.begin_settle_with_token(&id(), token, at(60_000)), None);
    assert_eq!(locks.expire_locks(at(60_000)), [id()]);
    assert_eq!((locks.next_expiry(), locks.queues.len()), (None, 0));
    let (new_token, owner) = lock(120_000);
    locks.acquire(&id(), owner, queue, fetch_limit(1), at(60_000));
    assert_eq!(locks.begin_settle_with_token(&id(), token, at(60_001)), None);
    assert_eq!(locks.begin_settle_with_token(&id(), new_token, at(60_001)), Some(1));
    // A lock does not expire while the message is being settled.
    assert_eq!(locks.expire_locks(at(DAY - 1)), []);
    locks.finish_settle(&id(), &[1], at(DAY - 1));
    assert!(locks.queues.is_empty() && locks.expirations.is_empty());
}

#[test]
fn releasing_an_expired_message_reports_the_expiry() {
    let mut locks = Locks::default();
    locks.acquire(&id(), LockOwner::Receiver(1), [queued(1, 1)], fetch_limit(1), at(0));
    assert!(!locks.acquire_expired(&id(), 1, at(DAY)), "the message is locked");
    assert!(locks.release_all(&id(), 1, at(DAY)).expired);
    assert!(locks.acquire_expired(&id(), 1, at(DAY)));
}

/// One operation.
#[derive(Debug, Clone)]
enum Step {
    Enqueue,
    Fetch { receiver: u64, messages: usize },
    Receive { seconds: i64 },
    Complete { which: usize },
    Abandon { which: usize },
    Release { receiver: u64 },
    Wait { seconds: i64 },
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Enqueue),
        3 => (1..4_u64, 1..5_usize).prop_map(|(receiver, messages)| Step::Fetch { receiver, messages }),
        2 => (1..60_i64).prop_map(|seconds| Step::Receive { seconds }),
        3 => any::<usize>().prop_map(|which| Step::Complete { which }),
        2 => any::<usize>().prop_map(|which| Step::Abandon { which }),
        1 => (1..4_u64).prop_map(|receiver| Step::Release { receiver }),
        2 => (1..60_i64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Purge),
    ]
}

/// The expected locks, by sequence number.
type LockOwners = BTreeMap<u64, LockOwner>;

/// Picks a locked message by an arbitrary number.
fn pick(owners: &LockOwners, which: usize) -> Option<(u64, LockOwner)> {
    let (sequence, owner) = owners.iter().nth(which.checked_rem(owners.len())?)?;
    Some((*sequence, *owner))
}

proptest! {
    /// In any order of operations: no message has two owners, none is delivered after it was settled, the oldest come
    /// first, two connections never have locks in the same queue, and no lock is left over.
    #[test]
    fn invariants_hold_in_any_order_of_operations(steps in prop::collection::vec(step(), 1..200)) {
        let id = id();
        let mut locks = Locks::default();
        let mut queue: BTreeSet<u64> = BTreeSet::new();
        let mut owners = LockOwners::new();
        let (mut now, mut last) = (0, 0);
        for step in steps {
            let entries = |queue: &BTreeSet<u64>| queue.iter().map(|s| queued(*s, 1)).collect::<Vec<_>>();
            match step {
                Step::Enqueue => {
                    last += 1;
                    queue.insert(last);
                }
                Step::Fetch { .. } | Step::Receive { .. } => {
                    let (owner, limit) = match step {
                        Step::Fetch { receiver, messages } => (LockOwner::Receiver(receiver), messages),
                        Step::Receive { seconds } => (lock(now + 1000 * seconds).1, 1),
                        _ => unreachable!(),
                    };
                    let is_other_receiver = |other: &LockOwner| matches!((other, owner),
                        (LockOwner::Receiver(theirs), LockOwner::Receiver(ours)) if *theirs != ours);
                    let free: Vec<u64> = queue.iter().copied().filter(|s| !owners.contains_key(s)).collect();
                    let expected = match owners.values().any(is_other_receiver) {
                        true => &[],
                        false => &free[..limit.min(free.len())],
                    };
                    let locked = locks.acquire(&id, owner, entries(&queue), fetch_limit(limit), at(now));
                    prop_assert_eq!(&locked.sequences, expected);
                    owners.extend(locked.sequences.iter().map(|sequence| (*sequence, owner)));
                }
                Step::Complete { which } | Step::Abandon { which } => {
                    let Some((sequence, owner)) = pick(&owners, which) else { continue };
                    let begun = match owner {
                        LockOwner::Receiver(receiver) => locks.begin_settle(&id, receiver, sequence),
                        LockOwner::Token { token, .. } => {
                            locks.begin_settle_with_token(&id, token, at(now)) == Some(sequence)
                        }
                        LockOwner::Expiry => false,
                    };
                    prop_assert!(begun);
                    let released = locks.finish_settle(&id, &[sequence], at(now));
                    prop_assert_eq!(released.messages, 1);
                    owners.remove(&sequence);
                    if matches!(step, Step::Complete { .. }) {
                        queue.remove(&sequence);
                    }
                }
                Step::Release { receiver } => {
                    let before = owners.len();
                    owners.retain(|_, owner| *owner != LockOwner::Receiver(receiver));
                    prop_assert_eq!(locks.release_all(&id, receiver, at(now)).messages, before - owners.len());
                }
                Step::Wait { seconds } => {
                    now += 1000 * seconds;
                    let before = owners.len();
                    owners.retain(|_, owner| !matches!(owner, LockOwner::Token { until, .. } if *until <= at(now)));
                    prop_assert_eq!(locks.expire_locks(at(now)).len(), before - owners.len());
                }
                Step::Purge => queue.clear(),
            }
            let next = owners.values().filter_map(|owner| match owner {
                LockOwner::Token { until, .. } => Some(*until),
                _ => None,
            });
            prop_assert_eq!(locks.next_expiry(), next.min());
        }
        for receiver in 1..4 {
            locks.release_all(&id, receiver, at(now));
        }
        locks.expire_locks(at(DAY));
        prop_assert!(locks.queues.is_empty() && locks.expirations.is_empty());
    }
}
