//! Peek-lock: hands the items of persistent queues out to receivers, and settles each item once.
//!
//! An item stays in its queue until its receiver settles it. Until then it is locked: no other receiver gets it. A lock ends
//! when the outcome is written, when the receiver releases it or ends, or when its time runs out; the item is then available
//! again, at its old position. Locks are in memory only, so that a delivery costs no write. After a restart, what was not
//! settled is handed out again.
//!
//! A hand-out has three steps, of which the second is the only one that needs a lock of this process:
//!
//! 1. `PeekLock::read` begins it. The queue reads from the store what waits, which may take a while.
//! 2. `Reading::hand_out` locks what is neither locked nor was locked at any time since the first step: its outcome may have
//!    been written meanwhile.
//! 3. What is delivered is kept (`HandOut::keep`). Everything else is released, also when the caller is cancelled or panics.
//!
//! The owner of a lock settles it, with an outcome that the queue writes. While it writes, the item is locked and the lock
//! neither runs out nor is released. If it cannot write, or panics, the item is available again.
//!
//! What is in a queue, where it is stored and what its outcomes are is the business of a `QueueKind`: messages to devices,
//! feedback and file notifications. A queue counts the deliveries of an item when it is abandoned, or, for the price of a
//! write, when it is handed out; one that [was delivered too often](is_exhausted) is dead-lettered.

#[cfg(test)]
mod fake;
mod guards;
#[cfg(test)]
mod interleavings;
mod lock_token;
mod locks;
mod peek_lock;
mod waiters;

pub(crate) use guards::{HandOut, Holder, HubLocks, Reading, Recipient};
pub use lock_token::LockToken;
pub(crate) use locks::{Entry, HandOutLimit, Released};
pub(crate) use peek_lock::{PeekLock, QueueKind, Written};
pub(crate) use waiters::{Attempt, Waiters};

/// Returns whether an item that was delivered this many times is not delivered again.
#[must_use]
pub fn is_exhausted(deliveries: u32, max_deliveries: u32) -> bool {
    deliveries >= max_deliveries
}
