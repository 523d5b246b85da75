//! Telemetry: the events that a device sends, and the queue of those that are not acknowledged yet.

mod event;
mod queue;

pub use event::Event;
pub use queue::OfflinePolicy;
pub(crate) use queue::{DeliverySender, EventQueue, QueueSlot, QueuedEvent};
