//! Who has something locked. Dropping any of these, also in a panic, leaves no lock behind.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::Timestamp;

use super::LockToken;
use super::locks::{Entry, HandOutLimit, LockOwner, LockState};
use super::peek_lock::{PeekLock, QueueKind};

/// How many of the locked items a page has room for.
const MAX_LOCKED_IN_PAGE: usize = 1000;

/// A hand-out that has begun: its queue reads from the store what waits.
pub(crate) struct Reading<Q: QueueKind> {
    peek_lock: Arc<PeekLock<Q>>,
    key: Q::Key,
    number: u64,
}

impl<Q: QueueKind> Reading<Q> {
    pub(super) fn new(peek_lock: Arc<PeekLock<Q>>, key: Q::Key, number: u64) -> Self {
        Self { peek_lock, key, number }
    }

    /// Returns the sequence numbers of the items that are locked now, which need not be read.
    pub(crate) fn locked(&self) -> Vec<u64> {
        self.peek_lock.locks().locked(&self.key)
    }

    /// Reads the oldest `wanted` items that are not locked now, page after page. `read` takes the sequence number after which a
    /// page begins, and its length.
    pub(crate) async fn unlocked<T, E, F>(
        &self,
        wanted: usize,
        sequence: fn(&T) -> u64,
        read: impl Fn(u64, usize) -> F,
    ) -> Result<Vec<T>, E>
    where
        F: Future<Output = Result<Vec<T>, E>>,
    {
        let locked: HashSet<u64> = self.locked().into_iter().collect();
        // What is locked is mostly at the front, so that one page is enough.
        let top = wanted.saturating_add(locked.len().min(MAX_LOCKED_IN_PAGE));
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = read(after, top).await?;
            let is_last = page.len() < top;
            after = page.last().map_or(after, sequence);
            found.extend(page.into_iter().filter(|item| !locked.contains(&sequence(item))));
            if is_last || found.len() >= wanted {
                found.truncate(wanted);
                return Ok(found);
            }
        }
    }

    /// Locks the oldest items of what was read. `entries` are in the order of the queue.
    pub(crate) fn hand_out(
        self,
        recipient: Recipient<'_, Q>,
        entries: &[Entry],
        limit: HandOutLimit,
    ) -> HandOut<Q> {
        let now = self.peek_lock.now();
        let (owner, lock) = match recipient {
            Recipient::Holder(holder) => (holder.owner(), None),
            Recipient::Token(duration) => {
                let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                let (token, until) = (LockToken::generate(), now.plus_millis(millis));
                (LockOwner::Token { token, until }, Some((token, until)))
            }
        };
        let acquired = self.peek_lock.locks().acquire(&self.key, self.number, owner, entries, limit, now);
        let (peek_lock, key) = (self.peek_lock.clone(), self.key.clone());
        let exhausted = LockedItems::new(peek_lock.clone(), key.clone(), acquired.exhausted);
        HandOut {
            peek_lock,
            key,
            owner,
            lock,
            sequences: acquired.sequences,
            exhausted: (!exhausted.sequences.is_empty()).then_some(exhausted),
            more: acquired.more,
        }
    }
}

impl<Q: QueueKind> Drop for Reading<Q> {
    fn drop(&mut self) {
        self.peek_lock.locks().end_read(&self.key, self.number);
    }
}

/// Who receives items.
pub(crate) enum Recipient<'a, Q: QueueKind> {
    /// A receiver that lasts, such as a connection.
    Holder(&'a Holder<Q>),
    /// A receiver without a connection. It gets a token, and its lock runs out after this time.
    Token(Duration),
}

/// Items that are locked for their receiver and not delivered yet. Dropping it releases them.
pub(crate) struct HandOut<Q: QueueKind> {
    peek_lock: Arc<PeekLock<Q>>,
    key: Q::Key,
    owner: LockOwner,
    sequences: Vec<u64>,
    /// The token with which the receiver settles the items, and when its lock runs out. `None` for a [`Holder`].
    pub(crate) lock: Option<(LockToken, Timestamp)>,
    /// Items that were delivered too often, for the queue to [settle](LockedItems::settle). Dropping them unlocks them.
    pub(crate) exhausted: Option<LockedItems<Q>>,
    /// Whether there may be further items that can be locked now: the limit left them out, or their locks have just ended.
    pub(crate) more: bool,
}

impl<Q: QueueKind> HandOut<Q> {
    /// Returns the sequence numbers of the items, oldest first.
    pub(crate) fn sequences(&self) -> &[u64] {
        &self.sequences
    }

    /// Returns the owner of the locks.
    #[cfg(test)]
    pub(super) fn owner(&self) -> LockOwner {
        self.owner
    }

    /// Leaves the items to their receiver, if they exist and it still owns the locks, which have run out if this took too long.
    /// Returns the sequence numbers of these, and releases the others.
    #[must_use]
    pub(crate) fn keep(mut self, exists: impl Fn(u64) -> bool) -> Vec<u64> {
        let all = std::mem::take(&mut self.sequences);
        let (mut kept, gone): (Vec<u64>, Vec<u64>) = all.into_iter().partition(|sequence| exists(*sequence));
        let mut locks = self.peek_lock.locks();
        kept.retain(|sequence| locks.deliver(&self.key, self.owner, *sequence));
        drop(locks);
        self.sequences = gone;
        kept
    }
}

impl<Q: QueueKind> Drop for HandOut<Q> {
    fn drop(&mut self) {
        if !self.sequences.is_empty() {
            self.peek_lock.release_items(&self.key, self.owner, &self.sequences, LockState::Undelivered);
        }
    }
}

/// Items of one queue whose outcome is about to be written. Dropping it makes them available again.
pub(crate) struct LockedItems<Q: QueueKind> {
    peek_lock: Arc<PeekLock<Q>>,
    key: Q::Key,
    sequences: Vec<u64>,
}

impl<Q: QueueKind> LockedItems<Q> {
    pub(super) fn new(peek_lock: Arc<PeekLock<Q>>, key: Q::Key, sequences: Vec<u64>) -> Self {
        Self { peek_lock, key, sequences }
    }

    pub(super) fn key(&self) -> &Q::Key {
        &self.key
    }

    pub(super) fn sequences(&self) -> &[u64] {
        &self.sequences
    }

    /// Writes the outcome of the items. Returns how many of them still existed.
    pub(crate) async fn settle(self, outcome: Q::Outcome) -> Result<u64, Q::Error> {
        let peek_lock = self.peek_lock.clone();
        peek_lock.write(self, outcome).await
    }

    pub(super) fn end(&mut self, available: bool) {
        let sequences = std::mem::take(&mut self.sequences);
        if sequences.is_empty() {
            return;
        }
        let now = self.peek_lock.now();
        let released = self.peek_lock.locks().end(&self.key, &sequences, available, now);
        self.peek_lock.on_released(&self.key, released);
    }
}

impl<Q: QueueKind> Drop for LockedItems<Q> {
    fn drop(&mut self) {
        self.end(true);
    }
}

/// Items of any queues that the hub ends itself. Dropping it unlocks them. They are not handed out again, so only holders that
/// waited for the locks learn it.
pub(crate) struct HubLocks<Q: QueueKind> {
    peek_lock: Arc<PeekLock<Q>>,
    items: Vec<(Q::Key, u64)>,
}

impl<Q: QueueKind> HubLocks<Q> {
    pub(super) fn new(peek_lock: Arc<PeekLock<Q>>, items: Vec<(Q::Key, u64)>) -> Self {
        Self { peek_lock, items }
    }

    /// Returns the sequence numbers of the items.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        self.items.iter().map(|(_, sequence)| *sequence).collect()
    }
}

impl<Q: QueueKind> Drop for HubLocks<Q> {
    fn drop(&mut self) {
        let now = self.peek_lock.now();
        for (key, sequence) in &self.items {
            let released = self.peek_lock.locks().end(key, &[*sequence], false, now);
            self.peek_lock.on_released(key, released);
        }
    }
}

/// A receiver that lasts, such as a connection. While it has items locked, no other holder gets items of its queue. Dropping it
/// releases them to their old positions in the queue.
pub(crate) struct Holder<Q: QueueKind> {
    peek_lock: Arc<PeekLock<Q>>,
    key: Q::Key,
    number: u64,
}

impl<Q: QueueKind> Holder<Q> {
    pub(super) fn new(peek_lock: Arc<PeekLock<Q>>, key: Q::Key, number: u64) -> Self {
        Self { peek_lock, key, number }
    }

    /// Returns the queue that it receives from.
    pub(crate) fn key(&self) -> &Q::Key {
        &self.key
    }

    /// Returns the owner of its locks.
    pub(super) fn owner(&self) -> LockOwner {
        LockOwner::Holder(self.number)
    }

    /// Settles items that were delivered to it. Ignores other sequence numbers. Returns how many of the items still existed.
    pub(crate) async fn settle(&self, sequences: &[u64], outcome: Q::Outcome) -> Result<u64, Q::Error> {
        let mut begun = Vec::with_capacity(sequences.len());
        if !sequences.is_empty() {
            let mut locks = self.peek_lock.locks();
            let is_ours = |sequence: &u64| locks.begin_settle(&self.key, self.number, *sequence);
            begun.extend(sequences.iter().copied().filter(is_ours));
        }
        if begun.is_empty() {
            return Ok(0);
        }
        LockedItems::new(self.peek_lock.clone(), self.key.clone(), begun).settle(outcome).await
    }

    /// Releases items that were delivered to it, as if they had not been, except those that it is settling.
    pub(crate) fn release(&self, sequences: &[u64]) {
        self.peek_lock.release_items(&self.key, self.owner(), sequences, LockState::Delivered);
    }
}

impl<Q: QueueKind> Drop for Holder<Q> {
    fn drop(&mut self) {
        let now = self.peek_lock.now();
        let released = self.peek_lock.locks().release_all(&self.key, self.owner(), now);
        self.peek_lock.on_released(&self.key, released);
    }
}

impl<Q: QueueKind> fmt::Debug for Holder<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("number", &self.number).finish_non_exhaustive()
    }
}
