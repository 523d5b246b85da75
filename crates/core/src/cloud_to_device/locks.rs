//! Message locks: which receiver each message is being delivered to.

use std::collections::{BTreeMap, HashMap};

use ferrohub_model::{IdentityId, Timestamp};

use super::LockToken;
use crate::cloud_to_device::QueueEntry;

/// The owner of a message lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockOwner {
    /// A connection, until it settles the message or ends.
    Receiver(u64),
    /// A device that received the message over HTTPS, until the lock expires.
    Token {
        /// The token with which the device settles the message.
        token: LockToken,
        /// The lock expiry.
        until: Timestamp,
    },
    /// The expiry task: the message has expired.
    Expiry,
}

#[derive(Debug)]
struct MessageLock {
    sequence: u64,
    expiry: Timestamp,
    owner: LockOwner,
    /// The outcome is being written. The lock stays until that is done, even if its owner ends or it would expire.
    settling: bool,
}

#[derive(Debug, Default)]
struct QueueLocks {
    locks: Vec<MessageLock>,
    /// A connection waits for locks to be released.
    has_waiter: bool,
}

/// Messages that were locked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Locked {
    pub(super) sequences: Vec<u64>,
    /// Whether the limit left out further messages.
    pub(super) more: bool,
}

/// Limits of one fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchLimit {
    pub(super) messages: usize,
    /// Total size. The first message may exceed it.
    pub(super) bytes: usize,
}

/// Messages whose locks were released.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    /// Number of messages.
    pub(super) messages: usize,
    /// A connection waited for the release.
    pub(super) had_waiter: bool,
    /// At least one of the messages has expired.
    pub(super) expired: bool,
}

/// All message locks. An identity without locks and without a waiting connection has no entry.
#[derive(Debug, Default)]
pub(super) struct Locks {
    queues: HashMap<IdentityId, QueueLocks>,
    /// Lock expiries of the locks that have a token.
    expirations: BTreeMap<(Timestamp, u64), IdentityId>,
}

impl Locks {
    /// Locks the oldest messages that are neither locked nor expired. A connection gets none while another connection
    /// owns locks in the queue, because those messages come first.
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
        let is_of_other_receiver = |lock: &MessageLock| match (lock.owner, owner) {
            (LockOwner::Receiver(theirs), LockOwner::Receiver(ours)) => theirs != ours,
            _ => false,
        };
        if queue.locks.iter().any(is_of_other_receiver) {
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

    /// Locks an expired message for the expiry task. Returns false if the message is locked already.
    pub(super) fn acquire_expired(&mut self, id: &IdentityId, sequence: u64, expiry: Timestamp) -> bool {
        let queue = self.queues.entry(id.clone()).or_default();
        if queue.locks.iter().any(|lock| lock.sequence == sequence) {
            return false;
        }
        queue.locks.push(MessageLock { sequence, expiry, owner: LockOwner::Expiry, settling: true });
        true
    }

    /// Begins to settle a message that this connection has locked. Returns false if it has not.
    pub(super) fn begin_settle(&mut self, id: &IdentityId, receiver: u64, sequence: u64) -> bool {
        self.begin_settle_where(id, |lock| {
            lock.sequence == sequence && lock.owner == LockOwner::Receiver(receiver)
        })
        .is_some()
    }

    /// Begins to settle the message that was locked with this token. Returns its sequence number, or `None` if the lock
    /// has expired or never existed.
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

    fn begin_settle_where(&mut self, id: &IdentityId, matches: impl Fn(&MessageLock) -> bool) -> Option<u64> {
        let lock = self.queues.get_mut(id)?.locks.iter_mut().find(|lock| matches(lock) && !lock.settling)?;
        lock.settling = true;
        if let LockOwner::Token { until, .. } = lock.owner {
            self.expirations.remove(&(until, lock.sequence));
        }
        Some(lock.sequence)
    }

    /// Releases messages whose outcome has been written, or could not be written.
    pub(super) fn finish_settle(&mut self, id: &IdentityId, sequences: &[u64], now: Timestamp) -> Released {
        self.release_where(id, now, |lock| sequences.contains(&lock.sequence))
    }

    /// Releases all messages of a connection, except those that it is settling.
    pub(super) fn release_all(&mut self, id: &IdentityId, receiver: u64, now: Timestamp) -> Released {
        self.release_where(id, now, |lock| lock.owner == LockOwner::Receiver(receiver) && !lock.settling)
    }

    /// Releases these messages of a connection, except those that it is settling.
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
        matches: impl Fn(&MessageLock) -> bool,
    ) -> Released {
        let Some(queue) = self.queues.get_mut(id) else { return Released::default() };
        let mut released = Released::default();
        queue.locks.retain(|lock| {
            let is_released = matches(lock);
            if is_released {
                released.messages += 1;
                released.expired |= lock.expiry <= now;
                if let LockOwner::Token { until, .. } = lock.owner {
                    self.expirations.remove(&(until, lock.sequence));
                }
            }
            !is_released
        });
        released.had_waiter = released.messages > 0 && std::mem::take(&mut queue.has_waiter);
        self.remove_if_unused(id);
        released
    }

    /// Releases the messages whose locks have expired. Returns the identity of each.
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

    /// Returns the time of the next lock expiry.
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
