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

fn waiting(sequence: u64, size: usize) -> Waiting {
    Waiting { sequence, expiry: at(DAY), size, is_input: false }
}

fn portion(messages: usize) -> Portion {
    Portion { messages, bytes: usize::MAX }
}

fn lock(until: i64) -> (LockToken, Holder) {
    let token = LockToken::fresh();
    (token, Holder::Lock { token, until: at(until) })
}

#[test]
fn a_portion_has_so_many_messages_and_bytes_but_at_least_one() {
    let mut holds = Holds::default();
    let queue: Vec<Waiting> = [(1, 100), (2, 60), (3, 50), (4, 1)].map(|(s, size)| waiting(s, size)).into();
    let mut take = |messages, bytes| {
        holds.take(&id(), Holder::Receiver(1), queue.clone(), Portion { messages, bytes }, at(0))
    };
    assert_eq!(take(9, 80), Taken { sequences: vec![1], more: true });
    assert_eq!(take(9, 110), Taken { sequences: vec![2, 3], more: true });
    assert_eq!(take(1, 110), Taken { sequences: vec![4], more: false });
    assert_eq!(take(9, 110), Taken::default());
}

#[test]
fn what_is_past_its_time_is_not_taken() {
    let mut holds = Holds::default();
    let queue = [waiting(1, 1)];
    assert_eq!(holds.take(&id(), Holder::Receiver(1), queue, portion(9), at(DAY)), Taken::default());
    assert!(holds.queues.is_empty());
}

#[test]
fn a_newer_connection_waits_until_the_older_one_has_let_go() {
    let mut holds = Holds::default();
    let queue = [waiting(1, 1), waiting(2, 1)];
    assert_eq!(holds.take(&id(), Holder::Receiver(1), queue, portion(1), at(0)).sequences, [1]);
    // Not even the second: the first comes before.
    assert_eq!(holds.take(&id(), Holder::Receiver(2), queue, portion(9), at(0)), Taken::default());
    let freed = holds.release(&id(), 1, at(0));
    assert_eq!(freed, Freed { messages: 1, awaited: true, expired: false });
    assert_eq!(holds.take(&id(), Holder::Receiver(2), queue, portion(9), at(0)).sequences, [1, 2]);
}

#[test]
fn what_is_being_settled_is_nobodys_whatever_happens_to_its_holder() {
    let mut holds = Holds::default();
    let queue = [waiting(1, 1), waiting(2, 1)];
    holds.take(&id(), Holder::Receiver(1), queue, portion(9), at(0));
    assert!(!holds.settle(&id(), 2, 1), "somebody else's");
    assert!(holds.settle(&id(), 1, 1));
    assert!(!holds.settle(&id(), 1, 1), "once");
    assert_eq!(holds.release(&id(), 1, at(0)).messages, 1);
    assert!(!holds.take_expired(&id(), 1, at(DAY)));
    assert_eq!(holds.take(&id(), Holder::Receiver(2), queue, portion(9), at(0)), Taken::default());
    assert_eq!(holds.settled(&id(), &[1], at(0)), Freed { messages: 1, awaited: true, expired: false });
    assert!(holds.queues.is_empty());
}

#[test]
fn a_lock_runs_out_and_then_its_token_is_worth_nothing() {
    let mut holds = Holds::default();
    let (token, holder) = lock(60_000);
    let queue = [waiting(1, 1)];
    assert_eq!(holds.take(&id(), holder, queue, portion(1), at(0)).sequences, [1]);
    assert_eq!(holds.next_lock(), Some(at(60_000)));
    assert_eq!(holds.expire_locks(at(59_999)), []);
    // Too late by the clock, even before anybody has looked.
    assert_eq!(holds.settle_locked(&id(), token, at(60_000)), None);
    assert_eq!(holds.expire_locks(at(60_000)), [id()]);
    assert_eq!((holds.next_lock(), holds.queues.len()), (None, 0));
    let (fresh, holder) = lock(120_000);
    holds.take(&id(), holder, queue, portion(1), at(60_000));
    assert_eq!(holds.settle_locked(&id(), token, at(60_001)), None);
    assert_eq!(holds.settle_locked(&id(), fresh, at(60_001)), Some(1));
    // While it is being settled the lock does not run out.
    assert_eq!(holds.expire_locks(at(DAY - 1)), []);
    holds.settled(&id(), &[1], at(DAY - 1));
    assert!(holds.queues.is_empty() && holds.locks.is_empty());
}

#[test]
fn a_message_that_is_let_go_after_its_time_is_told_of() {
    let mut holds = Holds::default();
    holds.take(&id(), Holder::Receiver(1), [waiting(1, 1)], portion(1), at(0));
    assert!(!holds.take_expired(&id(), 1, at(DAY)), "it is in somebody's hands");
    assert!(holds.release(&id(), 1, at(DAY)).expired);
    assert!(holds.take_expired(&id(), 1, at(DAY)));
}

/// One thing that happens.
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

/// What is in whose hands, as the test keeps it.
type InHand = BTreeMap<u64, Holder>;

/// Of messages in hand, the one that a number stands for.
fn pick(in_hand: &InHand, which: usize) -> Option<(u64, Holder)> {
    let (sequence, holder) = in_hand.iter().nth(which.checked_rem(in_hand.len())?)?;
    Some((*sequence, *holder))
}

proptest! {
    /// Whatever happens in whatever order: no message is with two, none comes after its end, the oldest come first, two
    /// connections never hold messages of one queue, and nothing stays held for ever.
    #[test]
    fn no_order_of_events_breaks_the_rules(steps in prop::collection::vec(step(), 1..200)) {
        let id = id();
        let mut holds = Holds::default();
        let mut queue: BTreeSet<u64> = BTreeSet::new();
        let mut in_hand = InHand::new();
        let (mut now, mut last) = (0, 0);
        for step in steps {
            let look = |queue: &BTreeSet<u64>| queue.iter().map(|s| waiting(*s, 1)).collect::<Vec<_>>();
            match step {
                Step::Enqueue => {
                    last += 1;
                    queue.insert(last);
                }
                Step::Fetch { .. } | Step::Receive { .. } => {
                    let (holder, most) = match step {
                        Step::Fetch { receiver, messages } => (Holder::Receiver(receiver), messages),
                        Step::Receive { seconds } => (lock(now + 1000 * seconds).1, 1),
                        _ => unreachable!(),
                    };
                    let others = |held: &Holder| matches!((held, holder),
                        (Holder::Receiver(theirs), Holder::Receiver(ours)) if *theirs != ours);
                    let free: Vec<u64> = queue.iter().copied().filter(|s| !in_hand.contains_key(s)).collect();
                    let expected = match in_hand.values().any(others) {
                        true => &[],
                        false => &free[..most.min(free.len())],
                    };
                    let taken = holds.take(&id, holder, look(&queue), portion(most), at(now));
                    prop_assert_eq!(&taken.sequences, expected);
                    in_hand.extend(taken.sequences.iter().map(|sequence| (*sequence, holder)));
                }
                Step::Complete { which } | Step::Abandon { which } => {
                    let Some((sequence, holder)) = pick(&in_hand, which) else { continue };
                    let begun = match holder {
                        Holder::Receiver(receiver) => holds.settle(&id, receiver, sequence),
                        Holder::Lock { token, .. } => {
                            holds.settle_locked(&id, token, at(now)) == Some(sequence)
                        }
                        Holder::Expiry => false,
                    };
                    prop_assert!(begun);
                    let freed = holds.settled(&id, &[sequence], at(now));
                    prop_assert_eq!(freed.messages, 1);
                    in_hand.remove(&sequence);
                    if matches!(step, Step::Complete { .. }) {
                        queue.remove(&sequence);
                    }
                }
                Step::Release { receiver } => {
                    let before = in_hand.len();
                    in_hand.retain(|_, holder| *holder != Holder::Receiver(receiver));
                    prop_assert_eq!(holds.release(&id, receiver, at(now)).messages, before - in_hand.len());
                }
                Step::Wait { seconds } => {
                    now += 1000 * seconds;
                    let before = in_hand.len();
                    in_hand.retain(|_, holder| !matches!(holder, Holder::Lock { until, .. } if *until <= at(now)));
                    prop_assert_eq!(holds.expire_locks(at(now)).len(), before - in_hand.len());
                }
                Step::Purge => queue.clear(),
            }
            let next = in_hand.values().filter_map(|holder| match holder {
                Holder::Lock { until, .. } => Some(*until),
                _ => None,
            });
            prop_assert_eq!(holds.next_lock(), next.min());
        }
        for receiver in 1..4 {
            holds.release(&id, receiver, at(now));
        }
        holds.expire_locks(at(DAY));
        prop_assert!(holds.queues.is_empty() && holds.locks.is_empty());
    }
}
