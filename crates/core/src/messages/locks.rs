//! Which messages are in somebody's hands.

use std::collections::{BTreeMap, HashMap};

use ferrohub_model::{IdentityId, Timestamp};

use super::LockToken;
use crate::store::QueueEntry;

/// In whose hands a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockOwner {
    /// A connection's, until it settles the message or ends.
    Receiver(u64),
    /// Those of a device that received it over HTTPS, for a while.
    Token {
        /// With which it settles the message.
        token: LockToken,
        /// Until when.
        until: Timestamp,
    },
    /// The hub's own: its time is up.
    Expiry,
}

#[derive(Debug)]
struct MessageLock {
    sequence: u64,
    expiry: Timestamp,
    owner: LockOwner,
    /// What becomes of it is being written: nobody may take it now, whatever happens to its holder.
    settling: bool,
}

#[derive(Debug, Default)]
struct QueueLocks {
    locks: Vec<MessageLock>,
    /// Somebody waits for a message to be let go.
    has_waiter: bool,
}

/// Messages that were taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Locked {
    pub(super) sequences: Vec<u64>,
    /// Whether more could have been taken, or will be when others let go.
    pub(super) more: bool,
}

/// What to take of a queue, at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchLimit {
    pub(super) messages: usize,
    /// The first one may be larger.
    pub(super) bytes: usize,
}

/// Messages that were let go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    /// How many.
    pub(super) messages: usize,
    /// Somebody waited for that.
    pub(super) had_waiter: bool,
    /// The time of one of them is up.
    pub(super) expired: bool,
}

/// All messages that are in somebody's hands. Identities of whose messages none is are not in here.
#[derive(Debug, Default)]
pub(super) struct Locks {
    queues: HashMap<IdentityId, QueueLocks>,
    /// When locks run out.
    expirations: BTreeMap<(Timestamp, u64), IdentityId>,
}

impl Locks {
    /// Takes the oldest messages that nobody holds and whose time is not up. A connection takes none as long as another
    /// one holds some: those come first.
    pub(super) fn acquire(
        &mut self,
        id: &IdentityId,
        owner: LockOwner,
        waiting: impl IntoIterator<Item = QueueEntry>,
        limit: FetchLimit,
        now: Timestamp,
    ) -> Locked {
        let mut locked = Locked::default();
        let queue = self.queues.entry(id.clone()).or_default();
        let other = |lock: &MessageLock| match (lock.owner, owner) {
            (LockOwner::Receiver(theirs), LockOwner::Receiver(ours)) => theirs != ours,
            _ => false,
        };
        if queue.locks.iter().any(other) {
            queue.has_waiter = true;
            return locked;
        }
        let mut bytes = 0;
        for message in waiting.into_iter().filter(|message| message.expiry > now) {
            if queue.locks.iter().any(|lock| lock.sequence == message.sequence) {
                continue;
            }
            bytes += message.size;
            let is_enough = locked.sequences.len() >= limit.messages
                || (bytes > limit.bytes && !locked.sequences.is_empty());
            if is_enough {
                locked.more = true;
                break;
            }
            let QueueEntry { sequence, expiry, .. } = message;
            queue.locks.push(MessageLock { sequence, expiry, owner, settling: false });
            locked.sequences.push(sequence);
            if let LockOwner::Token { until, .. } = owner {
                self.expirations.insert((until, sequence), id.clone());
            }
        }
        self.remove_if_unused(id);
        locked
    }

    /// Takes one message to end it, if nobody holds it.
    pub(super) fn acquire_expired(&mut self, id: &IdentityId, sequence: u64, expiry: Timestamp) -> bool {
        let queue = self.queues.entry(id.clone()).or_default();
        if queue.locks.iter().any(|lock| lock.sequence == sequence) {
            return false;
        }
        queue.locks.push(MessageLock { sequence, expiry, owner: LockOwner::Expiry, settling: true });
        true
    }

    /// Begins to settle a message that this connection holds.
    pub(super) fn begin_settle(&mut self, id: &IdentityId, receiver: u64, sequence: u64) -> bool {
        self.begin_settle_where(id, |lock| {
            lock.sequence == sequence && lock.owner == LockOwner::Receiver(receiver)
        })
        .is_some()
    }

    /// Begins to settle the message that was locked with this token, if the lock has not run out.
    pub(super) fn begin_settle_with_token(
        &mut self,
        id: &IdentityId,
        token: LockToken,
        now: Timestamp,
    ) -> Option<u64> {
        self.begin_settle_where(id, |lock| {
            matches!(lock.owner, LockOwner::Token { token: theirs, until } if theirs == token && until > now)
        })
    }

    fn begin_settle_where(&mut self, id: &IdentityId, fits: impl Fn(&MessageLock) -> bool) -> Option<u64> {
        let lock = self.queues.get_mut(id)?.locks.iter_mut().find(|lock| fits(lock) && !lock.settling)?;
        lock.settling = true;
        if let LockOwner::Token { until, .. } = lock.owner {
            self.expirations.remove(&(until, lock.sequence));
        }
        Some(lock.sequence)
    }

    /// What became of these messages is on disk, or will not be: they are nobody's.
    pub(super) fn finish_settle(&mut self, id: &IdentityId, sequences: &[u64], now: Timestamp) -> Released {
        self.release_where(id, now, |lock| sequences.contains(&lock.sequence))
    }

    /// A connection lets go of all that it is not settling.
    pub(super) fn release_all(&mut self, id: &IdentityId, receiver: u64, now: Timestamp) -> Released {
        self.release_where(id, now, |lock| lock.owner == LockOwner::Receiver(receiver) && !lock.settling)
    }

    /// A connection lets go of those of these messages that it is not settling.
    pub(super) fn release_some(
        &mut self,
        id: &IdentityId,
        receiver: u64,
        sequences: &[u64],
        now: Timestamp,
    ) -> Released {
        self.release_where(id, now, |lock| {
            lock.owner == LockOwner::Receiver(receiver)
                && !lock.settling
                && sequences.contains(&lock.sequence)
        })
    }

    fn release_where(
        &mut self,
        id: &IdentityId,
        now: Timestamp,
        which: impl Fn(&MessageLock) -> bool,
    ) -> Released {
        let Some(queue) = self.queues.get_mut(id) else { return Released::default() };
        let mut released = Released::default();
        queue.locks.retain(|lock| {
            let goes = which(lock);
            if goes {
                released.messages += 1;
                released.expired |= lock.expiry <= now;
                if let LockOwner::Token { until, .. } = lock.owner {
                    self.expirations.remove(&(until, lock.sequence));
                }
            }
            !goes
        });
        released.had_waiter = released.messages > 0 && std::mem::take(&mut queue.has_waiter);
        self.remove_if_unused(id);
        released
    }

    /// Lets go of the messages whose locks have run out: whose they are.
    pub(super) fn expire_locks(&mut self, now: Timestamp) -> Vec<IdentityId> {
        let mut released = Vec::new();
        while let Some(entry) = self.expirations.first_entry()
            && entry.key().0 <= now
        {
            let ((_, sequence), id) = entry.remove_entry();
            self.release_where(&id, now, |lock| lock.sequence == sequence);
            released.push(id);
        }
        released
    }

    /// When the next lock runs out.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expirations.first_key_value().map(|((until, _), _)| *until)
    }

    fn remove_if_unused(&mut self, id: &IdentityId) {
        if self.queues.get(id).is_some_and(|queue| queue.locks.is_empty() && !queue.has_waiter) {
            self.queues.remove(id);
        }
    }
}

#[cfg(test)]
mod tests;
