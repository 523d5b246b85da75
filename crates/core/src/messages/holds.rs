//! Which messages are in somebody's hands.

use std::collections::{BTreeMap, HashMap};

use ferrohub_model::{IdentityId, Timestamp};

use super::LockToken;
use crate::store::Waiting;

/// In whose hands a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// A connection's, until it settles the message or ends.
    Receiver(u64),
    /// Those of a device that received it over HTTPS, for a while.
    Lock {
        /// With which it settles the message.
        token: LockToken,
        /// Until when.
        until: Timestamp,
    },
    /// The hub's own: its time is up.
    Expiry,
}

#[derive(Debug)]
struct Held {
    sequence: u64,
    expiry: Timestamp,
    holder: Holder,
    /// What becomes of it is being written: nobody may take it now, whatever happens to its holder.
    settling: bool,
}

#[derive(Debug, Default)]
struct Queue {
    held: Vec<Held>,
    /// Somebody waits for a message to be let go.
    awaited: bool,
}

/// Messages that were taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) sequences: Vec<u64>,
    /// Whether more could have been taken, or will be when others let go.
    pub(super) more: bool,
}

/// What to take of a queue, at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion {
    pub(super) messages: usize,
    /// The first one may be larger.
    pub(super) bytes: usize,
}

/// Messages that were let go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    /// How many.
    pub(super) messages: usize,
    /// Somebody waited for that.
    pub(super) awaited: bool,
    /// The time of one of them is up.
    pub(super) expired: bool,
}

/// All messages that are in somebody's hands. Identities of whose messages none is are not in here.
#[derive(Debug, Default)]
pub(super) struct Holds {
    queues: HashMap<IdentityId, Queue>,
    /// When locks run out.
    locks: BTreeMap<(Timestamp, u64), IdentityId>,
}

impl Holds {
    /// Takes the oldest messages that nobody holds and whose time is not up. A connection takes none as long as another
    /// one holds some: those come first.
    pub(super) fn take(
        &mut self,
        id: &IdentityId,
        holder: Holder,
        waiting: impl IntoIterator<Item = Waiting>,
        portion: Portion,
        now: Timestamp,
    ) -> Taken {
        let mut taken = Taken::default();
        let queue = self.queues.entry(id.clone()).or_default();
        let other = |held: &Held| match (held.holder, holder) {
            (Holder::Receiver(theirs), Holder::Receiver(ours)) => theirs != ours,
            _ => false,
        };
        if queue.held.iter().any(other) {
            queue.awaited = true;
            return taken;
        }
        let mut bytes = 0;
        for message in waiting.into_iter().filter(|message| message.expiry > now) {
            if queue.held.iter().any(|held| held.sequence == message.sequence) {
                continue;
            }
            bytes += message.size;
            let is_enough = taken.sequences.len() >= portion.messages
                || (bytes > portion.bytes && !taken.sequences.is_empty());
            if is_enough {
                taken.more = true;
                break;
            }
            let Waiting { sequence, expiry, .. } = message;
            queue.held.push(Held { sequence, expiry, holder, settling: false });
            taken.sequences.push(sequence);
            if let Holder::Lock { until, .. } = holder {
                self.locks.insert((until, sequence), id.clone());
            }
        }
        self.tidy(id);
        taken
    }

    /// Takes one message to end it, if nobody holds it.
    pub(super) fn take_expired(&mut self, id: &IdentityId, sequence: u64, expiry: Timestamp) -> bool {
        let queue = self.queues.entry(id.clone()).or_default();
        if queue.held.iter().any(|held| held.sequence == sequence) {
            return false;
        }
        queue.held.push(Held { sequence, expiry, holder: Holder::Expiry, settling: true });
        true
    }

    /// Begins to settle a message that this connection holds.
    pub(super) fn settle(&mut self, id: &IdentityId, receiver: u64, sequence: u64) -> bool {
        self.begin(id, |held| held.sequence == sequence && held.holder == Holder::Receiver(receiver))
            .is_some()
    }

    /// Begins to settle the message that was locked with this token, if the lock has not run out.
    pub(super) fn settle_locked(&mut self, id: &IdentityId, token: LockToken, now: Timestamp) -> Option<u64> {
        self.begin(id, |held| {
            matches!(held.holder, Holder::Lock { token: theirs, until } if theirs == token && until > now)
        })
    }

    fn begin(&mut self, id: &IdentityId, fits: impl Fn(&Held) -> bool) -> Option<u64> {
        let held = self.queues.get_mut(id)?.held.iter_mut().find(|held| fits(held) && !held.settling)?;
        held.settling = true;
        if let Holder::Lock { until, .. } = held.holder {
            self.locks.remove(&(until, held.sequence));
        }
        Some(held.sequence)
    }

    /// What became of these messages is on disk, or will not be: they are nobody's.
    pub(super) fn settled(&mut self, id: &IdentityId, sequences: &[u64], now: Timestamp) -> Freed {
        self.free(id, now, |held| sequences.contains(&held.sequence))
    }

    /// A connection lets go of all that it is not settling.
    pub(super) fn release(&mut self, id: &IdentityId, receiver: u64, now: Timestamp) -> Freed {
        self.free(id, now, |held| held.holder == Holder::Receiver(receiver) && !held.settling)
    }

    /// A connection lets go of those of these messages that it is not settling.
    pub(super) fn release_some(
        &mut self,
        id: &IdentityId,
        receiver: u64,
        sequences: &[u64],
        now: Timestamp,
    ) -> Freed {
        self.free(id, now, |held| {
            held.holder == Holder::Receiver(receiver) && !held.settling && sequences.contains(&held.sequence)
        })
    }

    fn free(&mut self, id: &IdentityId, now: Timestamp, which: impl Fn(&Held) -> bool) -> Freed {
        let Some(queue) = self.queues.get_mut(id) else { return Freed::default() };
        let mut freed = Freed::default();
        queue.held.retain(|held| {
            let goes = which(held);
            if goes {
                freed.messages += 1;
                freed.expired |= held.expiry <= now;
                if let Holder::Lock { until, .. } = held.holder {
                    self.locks.remove(&(until, held.sequence));
                }
            }
            !goes
        });
        freed.awaited = freed.messages > 0 && std::mem::take(&mut queue.awaited);
        self.tidy(id);
        freed
    }

    /// Lets go of the messages whose locks have run out: whose they are.
    pub(super) fn expire_locks(&mut self, now: Timestamp) -> Vec<IdentityId> {
        let mut freed = Vec::new();
        while let Some(entry) = self.locks.first_entry()
            && entry.key().0 <= now
        {
            let ((_, sequence), id) = entry.remove_entry();
            self.free(&id, now, |held| held.sequence == sequence);
            freed.push(id);
        }
        freed
    }

    /// When the next lock runs out.
    pub(super) fn next_lock(&self) -> Option<Timestamp> {
        self.locks.first_key_value().map(|((until, _), _)| *until)
    }

    fn tidy(&mut self, id: &IdentityId) {
        if self.queues.get(id).is_some_and(|queue| queue.held.is_empty() && !queue.awaited) {
            self.queues.remove(id);
        }
    }
}

#[cfg(test)]
mod tests;
