//! The peek-lock of all queues of one kind.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::Timestamp;

use super::guards::LockedItems;
use super::locks::{LockOwner, LockState, Locks};
use super::{Holder, HubLocks, LockToken, Reading, Released};
use crate::clock::Clock;
use crate::metrics::Outcomes;
use crate::uncancelled::{Interrupted, run_uncancelled};

/// A kind of queues: what the peek-lock needs to know about it.
pub(crate) trait QueueKind: Send + Sync + 'static {
    /// Which queue: for example, the device that it belongs to.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// What the owner of a lock decides about an item.
    type Outcome: Copy + Send + Sync + 'static;
    /// Why an outcome cannot be written.
    type Error: From<Interrupted> + Send + 'static;

    /// The clock by which locks run out.
    fn clock(&self) -> &dyn Clock;

    /// The metric that counts panics.
    fn panics(&self) -> &Outcomes;

    /// Writes the outcome of items, which are locked meanwhile.
    fn write(
        &self,
        key: &Self::Key,
        sequences: &[u64],
        outcome: Self::Outcome,
    ) -> impl Future<Output = Result<Written, Self::Error>> + Send;

    /// Wakes receivers after locks have ended, if there is something for them. Does not block: `drop` calls it.
    fn on_released(&self, key: &Self::Key, released: Released);
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// How many of the items still existed.
    pub(crate) items: u64,
    /// Whether items are in the queue again.
    pub(crate) available: bool,
}

/// The locks of all queues of one kind, and what is done with them.
pub(crate) struct PeekLock<Q: QueueKind> {
    queue: Q,
    locks: Mutex<Locks<Q::Key>>,
    next_holder: AtomicU64,
}

impl<Q: QueueKind> PeekLock<Q> {
    pub(crate) fn new(queue: Q) -> Arc<Self> {
        Arc::new(Self { queue, locks: Mutex::default(), next_holder: AtomicU64::new(1) })
    }

    /// Returns the kind of the queues.
    pub(crate) fn queue(&self) -> &Q {
        &self.queue
    }

    pub(super) fn locks(&self) -> MutexGuard<'_, Locks<Q::Key>> {
        // Nothing panics while it holds the mutex but for lack of memory, so a poisoned one is still usable.
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.queue.clock().now()
    }

    pub(super) fn on_released(&self, key: &Q::Key, released: Released) {
        if released.items > 0 {
            self.queue.on_released(key, released);
        }
    }

    /// Begins a hand-out. What the queue reads from the store afterwards, it passes to [`Reading::hand_out`]. Locks that have run
    /// out are released first.
    pub(crate) fn read(self: &Arc<Self>, key: &Q::Key) -> Reading<Q> {
        let now = self.now();
        let (timed_out, number) = {
            let mut locks = self.locks();
            (locks.time_out(now), locks.begin_read(key))
        };
        self.on_timed_out(timed_out);
        Reading::new(self.clone(), key.clone(), number)
    }

    /// Returns a new holder, which receives from a queue until it is dropped.
    pub(crate) fn holder(self: &Arc<Self>, key: &Q::Key) -> Holder<Q> {
        Holder::new(self.clone(), key.clone(), self.next_holder.fetch_add(1, Ordering::Relaxed))
    }

    /// Locks items that the hub ends itself, but for those that are locked. When their locks end otherwise, that is
    /// [reported](Released::expired).
    pub(crate) fn lock_for_hub(
        self: &Arc<Self>,
        items: impl IntoIterator<Item = (Q::Key, u64, Timestamp)>,
    ) -> HubLocks<Q> {
        let items: Vec<_> = items.into_iter().collect();
        let mut locks = self.locks();
        let is_locked = |(key, sequence, expiry): (Q::Key, u64, Timestamp)| {
            locks.acquire_for_hub(&key, sequence, Some(expiry)).then_some((key, sequence))
        };
        let locked = items.into_iter().filter_map(is_locked).collect();
        drop(locks);
        HubLocks::new(self.clone(), locked)
    }

    /// Settles what was locked with this token. Returns how many of the items still existed, or `None` if the lock has run out,
    /// never existed, or is being settled.
    pub(crate) async fn settle_with_token(
        self: &Arc<Self>,
        key: &Q::Key,
        token: LockToken,
        outcome: Q::Outcome,
    ) -> Result<Option<u64>, Q::Error> {
        let now = self.now();
        let begun = self.locks().begin_settle_with_token(key, token, now);
        let Some(sequences) = begun else { return Ok(None) };
        self.write(LockedItems::new(self.clone(), key.clone(), sequences), outcome).await.map(Some)
    }

    /// Releases these items of an owner, if they are in this state.
    pub(super) fn release_items(&self, key: &Q::Key, owner: LockOwner, sequences: &[u64], state: LockState) {
        let now = self.now();
        let released = self.locks().release(key, owner, sequences, state, now);
        self.on_released(key, released);
    }

    /// Releases what was locked with this token, as if it had not been received. Has no effect if the lock has run out or is being
    /// settled.
    pub(crate) fn release_token(&self, key: &Q::Key, token: LockToken) {
        let now = self.now();
        let released = self.locks().release_token(key, token, now);
        self.on_released(key, released);
    }

    /// Releases what is locked longer than its time.
    pub(crate) fn time_out(&self) {
        let now = self.now();
        let timed_out = self.locks().time_out(now);
        self.on_timed_out(timed_out);
    }

    fn on_timed_out(&self, timed_out: Vec<(Q::Key, Released)>) {
        for (key, released) in timed_out {
            self.on_released(&key, released);
        }
    }

    /// Returns when the next lock runs out.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        self.locks().next_timeout()
    }

    /// Writes the outcome of items that are being settled, and then ends their locks. Runs to completion even if the caller is
    /// cancelled.
    pub(super) async fn write(
        self: &Arc<Self>,
        mut settling: LockedItems<Q>,
        outcome: Q::Outcome,
    ) -> Result<u64, Q::Error> {
        let peek_lock = self.clone();
        run_uncancelled(self.queue.panics(), async move {
            let written = peek_lock.queue.write(settling.key(), settling.sequences(), outcome).await;
            // What could not be written is available again. So it is if this panics: then `settling` is dropped.
            settling.end(written.as_ref().map_or(true, |written| written.available));
            written.map(|written| written.items)
        })
        .await
    }
}

impl<Q: QueueKind> fmt::Debug for PeekLock<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekLock").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
