//! Random interleavings of hand-outs, settlements, releases, expiry and time-outs, in which each operation of the store takes
//! any time and may fail or panic, and receivers go away: no item has two receivers, none is lost, none is delivered after it
//! has ended or too often, and no receiver sleeps while there is an item for it.

use std::sync::Arc;

use ferrohub_model::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::task::{JoinHandle, yield_now};

use super::fake::{FakeError, FakeQueue, Item, LOCK, MAX_DELIVERIES, Outcome, Receipt, State, Verdict};
use super::locks::LockOwner;
use super::{Holder, PeekLock};

const HOLDERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        key: u8,
        seconds: i64,
    },
    /// A connection begins to receive from the first queue, or ends.
    Connect(usize),
    Disconnect(usize),
    Fetch {
        holder: usize,
        items: usize,
    },
    Receive {
        key: u8,
        items: usize,
    },
    /// Some of what was received is settled, perhaps not for the first time or too late.
    Settle {
        receipt: Index,
        items: usize,
        outcome: Outcome,
    },
    Release(Index),
    Expire,
    /// A waiting operation of the store goes on.
    GoOn(Index, Verdict),
    /// A caller is cancelled.
    Cancel(Index),
    Wait {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![2 => Just(Outcome::Complete), 3 => Just(Outcome::Abandon)];
    let verdict = prop_oneof![
        9 => Just(Verdict::Succeed),
        1 => Just(Verdict::Fail),
        1 => Just(Verdict::Panic),
    ];
    let index = any::<Index>;
    prop_oneof![
        4 => (0..2_u8, 5..100_i64).prop_map(|(key, seconds)| Step::Enqueue { key, seconds }),
        2 => (0..HOLDERS).prop_map(Step::Connect),
        1 => (0..HOLDERS).prop_map(Step::Disconnect),
        4 => (0..HOLDERS, 1..4_usize).prop_map(|(holder, items)| Step::Fetch { holder, items }),
        4 => (0..2_u8, 1..3_usize).prop_map(|(key, items)| Step::Receive { key, items }),
        5 => (index(), 1..3_usize, outcome)
            .prop_map(|(receipt, items, outcome)| Step::Settle { receipt, items, outcome }),
        1 => index().prop_map(Step::Release),
        2 => Just(Step::Expire),
        24 => (index(), verdict).prop_map(|(index, verdict)| Step::GoOn(index, verdict)),
        1 => index().prop_map(Step::Cancel),
        2 => (1..20_i64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A receiver that has found nothing, and sleeps until it is notified.
struct Sleeper {
    key: u8,
    /// The holder that sleeps, if it is one.
    owner: Option<LockOwner>,
    /// How often the queue had notified when it began to look.
    notified: u64,
}

/// The sequence numbers that a receiver gets in the end.
type Receiving = JoinHandle<Result<Vec<u64>, FakeError>>;

struct World {
    peek_lock: Arc<PeekLock<FakeQueue>>,
    holders: [Option<Arc<Holder<FakeQueue>>>; HOLDERS],
    receivers: Vec<(Sleeper, Receiving)>,
    tasks: Vec<JoinHandle<()>>,
    sleepers: Vec<Sleeper>,
    last: u64,
}

fn pick<T>(items: &[T], index: Index) -> Option<usize> {
    (!items.is_empty()).then(|| index.index(items.len()))
}

impl World {
    fn new() -> Self {
        Self {
            peek_lock: PeekLock::new(FakeQueue::default()),
            holders: Default::default(),
            receivers: Vec::new(),
            tasks: Vec::new(),
            sleepers: Vec::new(),
            last: 0,
        }
    }

    fn now(&self) -> Timestamp {
        self.peek_lock.now()
    }

    fn queue(&self) -> &FakeQueue {
        self.peek_lock.queue()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Enqueue { key, seconds } => {
                self.last += 1;
                let item = Item { deliveries: 0, expiry: self.now().plus_millis(1000 * seconds) };
                let mut state = self.queue().state();
                state.items.insert((key, self.last), item);
                *state.notified.entry(key).or_default() += 1;
            }
            Step::Connect(holder) => {
                let new = Arc::new(self.peek_lock.holder(&0));
                self.holders[holder] = Some(new);
            }
            Step::Disconnect(holder) => self.holders[holder] = None,
            Step::Fetch { holder, items } => {
                if let Some(holder) = self.holders[holder].clone() {
                    self.receive(0, Some(holder), items);
                }
            }
            Step::Receive { key, items } => self.receive(key, None, items),
            Step::Settle { receipt, items, outcome } => self.settle(receipt, items, outcome),
            Step::Release(receipt) => self.release(receipt),
            Step::Expire => self.tasks.push(tokio::spawn(expire(self.peek_lock.clone()))),
            Step::GoOn(index, verdict) => {
                let mut state = self.queue().state();
                if let Some(index) = pick(&state.gates, index) {
                    let _ = state.gates.remove(index).send(verdict);
                }
            }
            Step::Cancel(index) => {
                if let Some(index) = pick(&self.receivers, index) {
                    self.receivers.remove(index).1.abort();
                }
                if let Some(index) = pick(&self.tasks, index) {
                    self.tasks.remove(index).abort();
                }
            }
            Step::Wait { seconds } => {
                self.queue().clock.advance(1000 * seconds);
                self.peek_lock.time_out();
            }
        }
    }

    fn receive(&mut self, key: u8, holder: Option<Arc<Holder<FakeQueue>>>, items: usize) {
        let owner = holder.as_ref().map(|holder| holder.owner());
        let notified = self.queue().state().notified.get(&key).copied().unwrap_or_default();
        let receiving = tokio::spawn(self.peek_lock.clone().receive(key, holder, items));
        self.receivers.push((Sleeper { key, owner, notified }, receiving));
    }

    /// Takes up to `items` items from what was received.
    fn claim(&self, receipt: Index, items: usize) -> Option<(Receipt, Vec<u64>)> {
        let mut state = self.queue().state();
        let receipt = pick(&state.receipts, receipt)?;
        let receipt = state.receipts[receipt].clone();
        let sequences: Vec<u64> = match receipt.owner {
            LockOwner::Holder(_) => receipt.sequences.iter().copied().take(items).collect(),
            _ => receipt.sequences.clone(),
        };
        for other in state.receipts.iter_mut().filter(|other| other.owner == receipt.owner) {
            other.claimed.retain(|sequence| !sequences.contains(sequence));
        }
        Some((receipt, sequences))
    }

    fn settle(&mut self, receipt: Index, items: usize, outcome: Outcome) {
        let Some((receipt, sequences)) = self.claim(receipt, items) else { return };
        let peek_lock = self.peek_lock.clone();
        self.tasks.push(tokio::spawn(async move {
            let _ = match (receipt.owner, receipt.holder.upgrade()) {
                (LockOwner::Token { token, .. }, _) => {
                    peek_lock.settle_with_token(&receipt.key, token, outcome).await.map(drop)
                }
                (_, Some(holder)) => holder.settle(&sequences, outcome).await.map(drop),
                _ => Ok(()),
            };
        }));
    }

    fn release(&self, receipt: Index) {
        let Some((receipt, sequences)) = self.claim(receipt, 1) else { return };
        match (receipt.owner, receipt.holder.upgrade()) {
            (LockOwner::Token { token, .. }, _) => self.peek_lock.release_token(&receipt.key, token),
            (_, Some(holder)) => holder.release(&sequences),
            _ => {}
        }
    }

    /// Lets all tasks run as far as they come.
    async fn settle_down(&mut self) {
        for _ in 0..20 {
            yield_now().await;
        }
        let mut left = Vec::new();
        for (sleeper, receiving) in self.receivers.drain(..) {
            if !receiving.is_finished() {
                left.push((sleeper, receiving));
            } else if receiving.await.is_ok_and(|received| received == Ok(Vec::new())) {
                self.sleepers.push(sleeper);
            }
        }
        self.receivers = left;
        self.tasks.retain(|task| !task.is_finished());
    }

    /// Checks what holds whenever nothing runs.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        let state = self.queue().state();
        prop_assert_eq!(&state.violations, &Vec::<String>::new());
        let is_asleep = |sleeper: &Sleeper| {
            state.notified.get(&sleeper.key).copied().unwrap_or_default() == sleeper.notified
        };
        let asleep: Vec<&Sleeper> = self.sleepers.iter().filter(|sleeper| is_asleep(sleeper)).collect();
        for Sleeper { key, owner, .. } in asleep {
            let owners = self.peek_lock.locks().owners(key);
            let is_other =
                |other: &LockOwner| matches!(other, LockOwner::Holder(_)) && Some(*other) != *owner;
            let is_blocked = owner.is_some() && owners.values().any(is_other);
            let is_available =
                |sequence: &u64, item: &Item| item.expiry > now && !owners.contains_key(sequence);
            let available =
                state.items.iter().find(|((of, sequence), item)| of == key && is_available(sequence, item));
            prop_assert!(is_blocked || available.is_none(), "{owner:?} sleeps, and there is {available:?}");
        }
        let is_left = |((key, sequence), item): (&(u8, u64), &Item)| {
            Some(item.expiry) <= state.expired_until
                && !self.peek_lock.locks().owners(key).contains_key(sequence)
        };
        if !state.wakes_expiry && state.expiring == 0 {
            prop_assert!(
                !state.items.iter().any(is_left),
                "an item has expired, and the expiry does not know"
            );
        }
        Ok(())
    }

    /// Everything ends: nothing stays locked, and what has not ended is handed out.
    async fn end(mut self) -> Result<(), TestCaseError> {
        for (_, receiving) in self.receivers.drain(..) {
            receiving.abort();
        }
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.holders = Default::default();
        self.queue().state().is_open = true;
        self.queue().state().gates.clear();
        self.settle_down().await;
        self.queue().clock.advance(LOCK.as_millis().try_into().unwrap());
        self.peek_lock.time_out();
        self.check()?;
        prop_assert!(self.peek_lock.locks().is_empty(), "{:?}", self.peek_lock.locks());
        let now = self.now();
        for key in 0..2 {
            let is_due = |state: &State| {
                let due = state.items.iter().filter(|((of, _), item)| {
                    *of == key && item.expiry > now && item.deliveries < MAX_DELIVERIES
                });
                due.map(|((_, sequence), _)| *sequence).collect::<Vec<_>>()
            };
            let due = is_due(&self.queue().state());
            let received = self.peek_lock.clone().receive(key, None, usize::MAX).await;
            prop_assert_eq!(received, Ok(due));
        }
        for key in 0..2 {
            let received = self.peek_lock.clone().receive(key, None, usize::MAX).await;
            prop_assert_eq!(received, Ok(Vec::new()), "all are locked, and the exhausted ones are gone");
        }
        prop_assert_eq!(&self.queue().state().violations, &Vec::<String>::new());
        Ok(())
    }
}

/// A run of the expiry. If it fails or is cancelled, the expiry runs again.
struct Expiring<'a>(&'a FakeQueue, bool);

impl Drop for Expiring<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.expiring -= 1;
        state.wakes_expiry |= !self.1;
    }
}

/// Ends the items that have expired and are not locked.
async fn expire(peek_lock: Arc<PeekLock<FakeQueue>>) {
    let queue = peek_lock.queue();
    let now = peek_lock.now();
    {
        let mut state = queue.state();
        (state.expiring, state.wakes_expiry, state.expired_until) = (state.expiring + 1, false, Some(now));
    }
    let mut expiring = Expiring(queue, false);
    let read = |state: &mut State| {
        let due = state.items.iter().filter(|(_, item)| item.expiry <= now);
        due.map(|((key, sequence), item)| (*key, *sequence, item.expiry)).collect::<Vec<_>>()
    };
    let Ok(due) = queue.operation(read).await else { return };
    let locked = peek_lock.lock_for_hub(due);
    let sequences = locked.sequences();
    let end = |state: &mut State| state.items.retain(|(_, sequence), _| !sequences.contains(sequence));
    expiring.1 = queue.operation(end).await.is_ok();
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.settle_down().await;
            world.check()?;
        }
        world.end().await
    })
}

proptest! {
    #[test]
    fn invariants_hold_in_any_interleaving(steps in prop::collection::vec(step(), 1..250)) {
        run(steps)?;
    }
}
