//! The ports of the hub in memory, for tests of whole operations without a disk.
//!
//! An adapter here has the same outcomes as the one that keeps its state on a disk: the conformance suite of each port
//! (`tests/conformance`) runs over both. Nothing survives the process, so the program does not use this crate.
//!
//! A change or read of the store is made when its future is first polled, and is answered in a later poll, as by an adapter
//! that waits for a disk. A caller that assumes the answer at once, or that no other change comes in between, fails here too.
//!
//! With [`VirtualClock`] and tokio's paused time, hours of locks, expiries and retention take milliseconds.
#![forbid(unsafe_code)]

mod blobs;
mod clock;
mod event_log;
mod store;

pub use blobs::MemoryBlobFolder;
pub use clock::VirtualClock;
pub use event_log::MemoryEventLog;
pub use store::MemoryStore;
