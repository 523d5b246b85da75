//! Messages to devices and modules: queues that outlive everything, and who has what in hand.
//!
//! A message is on disk from the moment its sender hears "yes" until a receiver completes or rejects it, its time runs
//! out, it was given back too often, or its queue is purged. Who is being sent a message is known in memory alone
//! (`locks.rs`): a delivery costs no write, and after a restart whatever was not completed is delivered again.
//! Whoever wants to end a message or send it takes hold of it first, so it is never with two receivers, and never
//! delivered after its end.
//!
//! Connections take messages with a [`Receiver`]; HTTPS, which has none, with a [`LockToken`].

mod expiry;
mod feedback;
mod limits;
mod lock_token;
mod locks;
mod queues;
mod receiver;

pub(crate) use expiry::run as run_expiry;
pub use feedback::FeedbackBatch;
pub use limits::{FeedbackLimits, MessageLimits};
pub use lock_token::LockToken;
pub(crate) use queues::Queues;
pub use queues::{LockedMessage, Settlement};
pub use receiver::{Fetched, MessageFilter, Receiver};
