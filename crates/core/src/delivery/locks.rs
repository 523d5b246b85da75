//! The locks of all queues of one kind. No clock, no store, nothing that waits.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use ferrohub_model::Timestamp;

use super::{LockToken, is_exhausted};

/// The owner of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockOwner {
    /// A holder, such as a connection, until it settles the item or ends. While it owns locks in a queue, no other holder
    /// gets items of that queue, because those items come first.
    Holder(u64),
    /// A receiver without a connection, until the lock runs out.
    Token {
        /// The token with which the receiver settles what it received.
        token: LockToken,
        /// When the lock runs out.
        until: Timestamp,
    },
    /// The hub, which ends the item itself: it has expired, or was delivered too often.
    Hub,
}

/// What the hand-out of an item depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The sequence number, which is never reused in the queue.
    pub(crate) sequence: u64,
    /// When the item expires and is not handed out any more. `None` if that does not depend on its lock.
    pub(crate) expiry: Option<Timestamp>,
    /// Its size in bytes.
    pub(crate) size: usize,
    /// How often it was handed out, if its queue counts that; otherwise 0.
    pub(crate) deliveries: u32,
}

/// Limits of one hand-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandOutLimit {
    /// Maximum number of items.
    pub(crate) items: usize,
    /// Maximum total size. The first item may exceed it.
    pub(crate) bytes: usize,
    /// An item that was delivered this many times is not handed out, but locked for the hub.
    pub(crate) max_deliveries: u32,
}

/// The sequence numbers of items that were locked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Acquired {
    /// Locked for the owner that asked.
    pub(super) sequences: Vec<u64>,
    /// Locked for the hub: delivered too often.
    pub(super) exhausted: Vec<u64>,
    /// Whether there may be further items that can be locked now.
    pub(super) more: bool,
}

/// Items whose locks ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Released {
    /// Number of items.
    pub(crate) items: usize,
    /// The items may be in the queue and can be handed out again.
    pub(crate) available: bool,
    /// A holder waited for the release.
    pub(crate) had_waiter: bool,
    /// At least one of the items has expired while it was locked.
    pub(crate) expired: bool,
    /// The time of the locks has run out.
    pub(crate) timed_out: bool,
}

/// What the owner of a lock may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockState {
    /// The item is on its way to the owner.
    Undelivered,
    /// The owner has the item, and may settle or release it.
    Delivered,
    /// The outcome is being written. The lock stays until that is done, even if its owner ends or its time runs out.
    Settling,
}

#[derive(Debug)]
struct Lock {
    expiry: Option<Timestamp>,
    owner: LockOwner,
    state: LockState,
}

#[derive(Debug, Default)]
struct QueueLocks {
    /// The locks by sequence number.
    locks: BTreeMap<u64, Lock>,
    /// The sequence numbers that each token has locked.
    tokens: BTreeMap<LockToken, Vec<u64>>,
    /// A holder waits for the locks of another one to be released.
    has_waiter: bool,
    /// The numbers of the reads that have begun and not ended, oldest first.
    reads: Vec<u64>,
    /// The locks that ended while a read had begun: the newest read at that time, and the sequence number.
    ended: Vec<(u64, u64)>,
}

impl QueueLocks {
    fn is_unused(&self) -> bool {
        self.locks.is_empty() && !self.has_waiter && self.reads.is_empty()
    }

    fn has_ended_since(&self, read: u64, sequence: u64) -> bool {
        self.ended.iter().any(|(during, ended)| *during >= read && *ended == sequence)
    }
}

/// The locks of all queues of one kind. A queue without locks, reads and waiting holders has no entry.
#[derive(Debug)]
pub(super) struct Locks<K> {
    queues: HashMap<K, QueueLocks>,
    /// When the locks with a token run out, unless they are being settled.
    expirations: BTreeMap<(Timestamp, LockToken), K>,
    last_read: u64,
}

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self { queues: HashMap::new(), expirations: BTreeMap::new(), last_read: 0 }
    }
}

impl<K: Clone + Eq + Hash> Locks<K> {
    /// Begins a read of a queue from the store. Returns its number.
    pub(super) fn begin_read(&mut self, key: &K) -> u64 {
        self.last_read += 1;
        self.queues.entry(key.clone()).or_default().reads.push(self.last_read);
        self.last_read
    }

    /// Ends a read.
    pub(super) fn end_read(&mut self, key: &K, read: u64) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        queue.reads.retain(|begun| *begun != read);
        match queue.reads.first() {
            Some(oldest) => queue.ended.retain(|(during, _)| during >= oldest),
            None => queue.ended = Vec::new(),
        }
        self.remove_if_unused(key);
    }

    /// Returns the sequence numbers of the locked items.
    pub(super) fn locked(&self, key: &K) -> Vec<u64> {
        self.queues.get(key).map(|queue| queue.locks.keys().copied().collect()).unwrap_or_default()
    }

    /// Locks the oldest of the items that a read has found, if they are neither locked nor expired. Stops at an item whose lock
    /// ended during the read: it may have been settled, or must be handed out before those behind it.
    pub(super) fn acquire(
        &mut self,
        key: &K,
        read: u64,
        owner: LockOwner,
        entries: &[Entry],
        limit: HandOutLimit,
        now: Timestamp,
    ) -> Acquired {
        let mut acquired = Acquired::default();
        let queue = self.queues.entry(key.clone()).or_default();
        if let LockOwner::Holder(ours) = owner
            && queue
                .locks
                .values()
                .any(|lock| matches!(lock.owner, LockOwner::Holder(theirs) if theirs != ours))
        {
            queue.has_waiter = true;
            return acquired;
        }
        let mut bytes = 0_usize;
        for Entry { sequence, expiry, size, deliveries } in entries.iter().copied() {
            if expiry.is_some_and(|expiry| expiry <= now) || queue.locks.contains_key(&sequence) {
                continue;
            }
            if queue.has_ended_since(read, sequence) {
                acquired.more = true;
                break;
            }
            if is_exhausted(deliveries, limit.max_deliveries) {
                queue
                    .locks
                    .insert(sequence, Lock { expiry, owner: LockOwner::Hub, state: LockState::Settling });
                acquired.exhausted.push(sequence);
                continue;
            }
            bytes = bytes.saturating_add(size);
            let is_enough = acquired.sequences.len() >= limit.items
                || (bytes > limit.bytes && !acquired.sequences.is_empty());
            if is_enough {
                acquired.more = true;
                break;
            }
            queue.locks.insert(sequence, Lock { expiry, owner, state: LockState::Undelivered });
            acquired.sequences.push(sequence);
        }
        if let LockOwner::Token { token, until } = owner
            && !acquired.sequences.is_empty()
        {
            queue.tokens.insert(token, acquired.sequences.clone());
            self.expirations.insert((until, token), key.clone());
        }
        self.remove_if_unused(key);
        acquired
    }

    /// Locks an item that the hub ends itself. Returns false if it is locked already.
    pub(super) fn acquire_for_hub(&mut self, key: &K, sequence: u64, expiry: Option<Timestamp>) -> bool {
        let queue = self.queues.entry(key.clone()).or_default();
        if queue.locks.contains_key(&sequence) {
            return false;
        }
        queue.locks.insert(sequence, Lock { expiry, owner: LockOwner::Hub, state: LockState::Settling });
        true
    }

    /// Delivers an item to the owner of its lock. Returns false if it has lost the lock: its time has run out, or it has ended.
    pub(super) fn deliver(&mut self, key: &K, owner: LockOwner, sequence: u64) -> bool {
        self.change_state(key, owner, sequence, LockState::Undelivered, LockState::Delivered)
    }

    /// Begins to settle an item that was delivered to this holder. Returns false if it was not.
    pub(super) fn begin_settle(&mut self, key: &K, holder: u64, sequence: u64) -> bool {
        let owner = LockOwner::Holder(holder);
        self.change_state(key, owner, sequence, LockState::Delivered, LockState::Settling)
    }

    fn change_state(
        &mut self,
        key: &K,
        owner: LockOwner,
        sequence: u64,
        from: LockState,
        to: LockState,
    ) -> bool {
        let lock = self.queues.get_mut(key).and_then(|queue| queue.locks.get_mut(&sequence));
        match lock.filter(|lock| lock.owner == owner && lock.state == from) {
            Some(lock) => {
                lock.state = to;
                true
            }
            None => false,
        }
    }

    /// Begins to settle the items that were locked with this token. Returns their sequence numbers, or `None` if the lock has
    /// run out, never existed, or is being settled.
    pub(super) fn begin_settle_with_token(
        &mut self,
        key: &K,
        token: LockToken,
        now: Timestamp,
    ) -> Option<Vec<u64>> {
        let queue = self.queues.get_mut(key)?;
        let sequences = queue.tokens.get(&token)?;
        let Lock { owner: LockOwner::Token { until, .. }, state: LockState::Delivered, .. } =
            *queue.locks.get(sequences.first()?)?
        else {
            return None;
        };
        if until <= now {
            return None;
        }
        // While it is being settled, it does not run out.
        self.expirations.remove(&(until, token));
        for sequence in sequences {
            if let Some(lock) = queue.locks.get_mut(sequence) {
                lock.state = LockState::Settling;
            }
        }
        Some(sequences.clone())
    }

    /// Ends locks whose outcome was written or could not be written. `available` tells whether the items may be in the queue
    /// again.
    pub(super) fn end(&mut self, key: &K, sequences: &[u64], available: bool, now: Timestamp) -> Released {
        self.release_where(key, sequences.iter().copied(), available, now, |_| true)
    }

    /// Releases all items of an owner that has ended, except those that it is settling.
    pub(super) fn release_all(&mut self, key: &K, owner: LockOwner, now: Timestamp) -> Released {
        let all = self.locked(key);
        let is_ours = |lock: &Lock| lock.owner == owner && lock.state != LockState::Settling;
        self.release_where(key, all, true, now, is_ours)
    }

    /// Releases these items of an owner, if they are in this state.
    pub(super) fn release(
        &mut self,
        key: &K,
        owner: LockOwner,
        sequences: &[u64],
        state: LockState,
        now: Timestamp,
    ) -> Released {
        let is_ours = |lock: &Lock| lock.owner == owner && lock.state == state;
        self.release_where(key, sequences.iter().copied(), true, now, is_ours)
    }

    /// Releases the items that were locked with this token, unless they are being settled.
    pub(super) fn release_token(&mut self, key: &K, token: LockToken, now: Timestamp) -> Released {
        let sequences = self.queues.get(key).and_then(|queue| queue.tokens.get(&token)).cloned();
        self.release_where(key, sequences.unwrap_or_default(), true, now, |lock| {
            lock.state != LockState::Settling
        })
    }

    /// Releases the items whose locks have run out. Returns the queue of each lock.
    pub(super) fn time_out(&mut self, now: Timestamp) -> Vec<(K, Released)> {
        let mut released = Vec::new();
        while let Some(entry) = self.expirations.first_entry()
            && entry.key().0 <= now
        {
            let ((_, token), key) = entry.remove_entry();
            let items = self.release_token(&key, token, now);
            released.push((key, Released { timed_out: true, ..items }));
        }
        released
    }

    /// Returns when the next lock runs out.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.expirations.first_key_value().map(|((until, _), _)| *until)
    }

    fn release_where(
        &mut self,
        key: &K,
        sequences: impl IntoIterator<Item = u64>,
        available: bool,
        now: Timestamp,
        matches: impl Fn(&Lock) -> bool,
    ) -> Released {
        let mut released = Released::default();
        let Some(queue) = self.queues.get_mut(key) else { return released };
        for sequence in sequences {
            if !queue.locks.get(&sequence).is_some_and(&matches) {
                continue;
            }
            let Some(lock) = queue.locks.remove(&sequence) else { continue };
            released.items += 1;
            if let Some(newest) = queue.reads.last() {
                queue.ended.push((*newest, sequence));
            }
            // The hub ends what has expired, and need not be told.
            released.expired |=
                lock.owner != LockOwner::Hub && lock.expiry.is_some_and(|expiry| expiry <= now);
            if let LockOwner::Token { token, until } = lock.owner
                && let Some(locked) = queue.tokens.get_mut(&token)
            {
                locked.retain(|other| *other != sequence);
                if locked.is_empty() {
                    queue.tokens.remove(&token);
                    self.expirations.remove(&(until, token));
                }
            }
        }
        released.available = available && released.items > 0;
        released.had_waiter = released.items > 0 && std::mem::take(&mut queue.has_waiter);
        self.remove_if_unused(key);
        released
    }

    fn remove_if_unused(&mut self, key: &K) {
        if self.queues.get(key).is_some_and(QueueLocks::is_unused) {
            self.queues.remove(key);
        }
    }

    /// Returns whether nothing is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.expirations.is_empty()
    }

    /// Returns the owners of the locks in a queue.
    #[cfg(test)]
    pub(super) fn owners(&self, key: &K) -> BTreeMap<u64, LockOwner> {
        let owners = |queue: &QueueLocks| queue.locks.iter().map(|(at, lock)| (*at, lock.owner)).collect();
        self.queues.get(key).map(owners).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
