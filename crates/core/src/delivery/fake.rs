//! A kind of queues for tests. Each operation of its store waits until the test lets it go on, and fails or panics there if
//! the test wants that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use ferrohub_model::Timestamp;
use tokio::sync::oneshot;

use super::locks::LockOwner;
use super::{Entry, HandOutLimit, Holder, PeekLock, QueueKind, Recipient, Released, Written};
use crate::clock::Clock;
use crate::metrics::Outcomes;
use crate::uncancelled::Interrupted;

pub(super) const MAX_DELIVERIES: u32 = 4;
pub(super) const LOCK: Duration = Duration::from_secs(10);

/// How an operation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Succeed,
    Fail,
    Panic,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct FakeError;

impl From<Interrupted> for FakeError {
    fn from(_: Interrupted) -> Self {
        Self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Complete,
    Abandon,
    DeadLetter,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) deliveries: u32,
    pub(super) expiry: Timestamp,
}

/// What a receiver has received.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) key: u8,
    pub(super) owner: LockOwner,
    /// The holder, if the owner is one.
    pub(super) holder: Weak<Holder<FakeQueue>>,
    pub(super) sequences: Vec<u64>,
    /// Those that it has neither settled nor released.
    pub(super) claimed: BTreeSet<u64>,
}

impl Receipt {
    fn claims(&self, key: u8, sequence: u64, now: Timestamp) -> bool {
        let is_valid = match self.owner {
            LockOwner::Token { until, .. } => until > now,
            LockOwner::Holder(_) => self.holder.strong_count() > 0,
            LockOwner::Hub => false,
        };
        is_valid && self.key == key && self.claimed.contains(&sequence)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) items: BTreeMap<(u8, u64), Item>,
    /// The operations that wait for the test, in the order in which they began to.
    pub(super) gates: Vec<oneshot::Sender<Verdict>>,
    /// Operations do not wait.
    pub(super) is_open: bool,
    /// The items whose outcome is being written.
    writing: BTreeSet<(u8, u64)>,
    pub(super) receipts: Vec<Receipt>,
    /// How often each queue has notified its receivers.
    pub(super) notified: BTreeMap<u8, u64>,
    /// The expiry must run again.
    pub(super) wakes_expiry: bool,
    /// Number of its runs that have not ended.
    pub(super) expiring: u32,
    /// When it last began.
    pub(super) expired_until: Option<Timestamp>,
    pub(super) dead_lettered: u64,
    pub(super) violations: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct FakeClock(AtomicI64);

impl FakeClock {
    pub(super) fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Debug, Default)]
pub(super) struct FakeQueue {
    state: Mutex<State>,
    pub(super) clock: FakeClock,
    panics: Outcomes,
}

impl FakeQueue {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An operation of the store: it can fail before and after it takes effect.
    pub(super) async fn operation<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, FakeError> {
        self.gate().await?;
        let result = effect(&mut self.state());
        self.gate().await?;
        Ok(result)
    }

    async fn gate(&self) -> Result<(), FakeError> {
        let verdict = {
            let mut state = self.state();
            if state.is_open {
                return Ok(());
            }
            let (gate, verdict) = oneshot::channel();
            state.gates.push(gate);
            verdict
        };
        match verdict.await {
            Ok(Verdict::Succeed) => Ok(()),
            // Without the message that a panic hook prints.
            Ok(Verdict::Panic) => std::panic::resume_unwind(Box::new("planted")),
            Ok(Verdict::Fail) | Err(_) => Err(FakeError),
        }
    }
}

/// Items whose outcome is being written.
struct Writing<'a>(&'a FakeQueue, Vec<(u8, u64)>);

impl<'a> Writing<'a> {
    fn begin(queue: &'a FakeQueue, key: u8, sequences: &[u64]) -> Self {
        let now = queue.clock.now();
        let items: Vec<_> = sequences.iter().map(|sequence| (key, *sequence)).collect();
        let mut state = queue.state();
        for (key, sequence) in items.iter().copied() {
            if !state.writing.insert((key, sequence)) {
                state.violations.push(format!("{sequence} is settled twice at once"));
            }
            if state.receipts.iter().any(|receipt| receipt.claims(key, sequence, now)) {
                state.violations.push(format!("{sequence} is settled while a receiver has it"));
            }
        }
        drop(state);
        Self(queue, items)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        for item in &self.1 {
            state.writing.remove(item);
        }
    }
}

impl QueueKind for FakeQueue {
    type Key = u8;
    type Outcome = Outcome;
    type Error = FakeError;

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn panics(&self) -> &Outcomes {
        &self.panics
    }

    async fn write(&self, key: &u8, sequences: &[u64], outcome: Outcome) -> Result<Written, FakeError> {
        let _writing = Writing::begin(self, *key, sequences);
        let effect = |state: &mut State| {
            let exist = sequences.iter().filter(|sequence| match outcome {
                Outcome::Abandon => state.items.contains_key(&(*key, **sequence)),
                _ => state.items.remove(&(*key, **sequence)).is_some(),
            });
            let items = exist.count() as u64;
            if outcome == Outcome::DeadLetter {
                state.dead_lettered += items;
            }
            items
        };
        let items = self.operation(effect).await?;
        Ok(Written { items, available: outcome == Outcome::Abandon })
    }

    fn on_released(&self, key: &u8, released: Released) {
        let mut state = self.state();
        if released.available || released.had_waiter {
            *state.notified.entry(*key).or_default() += 1;
        }
        state.wakes_expiry |= released.expired;
    }
}

impl PeekLock<FakeQueue> {
    /// Receives items, counts the delivery of each, and records what was received. Tries again while there may be more.
    pub(super) async fn receive(
        self: Arc<Self>,
        key: u8,
        holder: Option<Arc<Holder<FakeQueue>>>,
        items: usize,
    ) -> Result<Vec<u64>, FakeError> {
        let queue = self.queue();
        loop {
            let reading = self.read(&key);
            // A queue may leave out what is locked when it begins to read, or read it in vain.
            let locked = if holder.is_none() { reading.locked() } else { Vec::new() };
            let read = |state: &mut State| {
                let of_queue = state.items.range((key, 0)..=(key, u64::MAX));
                let entries = of_queue.filter(|((_, sequence), _)| !locked.contains(sequence)).map(
                    |((_, sequence), item)| Entry {
                        sequence: *sequence,
                        expiry: Some(item.expiry),
                        size: 1,
                        deliveries: item.deliveries,
                    },
                );
                entries.collect::<Vec<_>>()
            };
            let entries = queue.operation(read).await?;
            let limit = HandOutLimit { items, bytes: usize::MAX, max_deliveries: MAX_DELIVERIES };
            let recipient = holder.as_deref().map_or(Recipient::Token(LOCK), Recipient::Holder);
            let mut handed_out = reading.hand_out(recipient, &entries, limit);
            let owner = handed_out.owner();
            if let Some(exhausted) = handed_out.exhausted.take() {
                exhausted.settle(Outcome::DeadLetter).await?;
            }
            if handed_out.sequences().is_empty() {
                if handed_out.more {
                    continue;
                }
                return Ok(Vec::new());
            }
            let sequences = handed_out.sequences().to_vec();
            let count = |state: &mut State| {
                for sequence in &sequences {
                    if let Some(item) = state.items.get_mut(&(key, *sequence)) {
                        item.deliveries += 1;
                    }
                }
            };
            queue.operation(count).await?;
            let sequences = handed_out.keep(|_| true);
            if sequences.is_empty() {
                continue;
            }
            queue.record_receipt(key, owner, holder.as_ref(), sequences.clone());
            return Ok(sequences);
        }
    }
}

impl FakeQueue {
    fn record_receipt(
        &self,
        key: u8,
        owner: LockOwner,
        holder: Option<&Arc<Holder<Self>>>,
        sequences: Vec<u64>,
    ) {
        let now = self.clock.now();
        let mut state = self.state();
        for sequence in sequences.iter().copied() {
            if state.receipts.iter().any(|receipt| receipt.claims(key, sequence, now)) {
                state.violations.push(format!("{sequence} has two receivers"));
            }
            // A delivery may be counted that was not made, because the lock ended meanwhile.
            let receives = |receipt: &&Receipt| receipt.key == key && receipt.sequences.contains(&sequence);
            if state.receipts.iter().filter(receives).count() >= MAX_DELIVERIES as usize {
                state.violations.push(format!("{sequence} was delivered too often"));
            }
            if !state.items.contains_key(&(key, sequence)) {
                state.violations.push(format!("{sequence} is delivered after it has ended"));
            }
        }
        if !sequences.is_sorted() {
            state.violations.push(format!("{sequences:?} are not in the order of the queue"));
        }
        let holder = holder.map(Arc::downgrade).unwrap_or_default();
        let claimed = sequences.iter().copied().collect();
        state.receipts.push(Receipt { key, owner, holder, sequences, claimed });
    }
}
