//! Messages between devices and services: a body with properties.

mod destination;
mod event;
mod feedback;
mod partition;
mod properties;
mod queue;
mod system;

pub use destination::Destination;
pub use event::{Event, EventBody};
pub use feedback::{Ack, FEEDBACK_CONTENT_TYPE, FeedbackRecord, FeedbackStatus};
pub use partition::{EventLogInfo, Partition};
pub use properties::{MalformedPropertyBag, MessageProperties};
pub use queue::{EnqueuedMessage, PurgeResult};
pub use system::SystemProperty;

/// Largest message from a device in bytes, including its properties.
pub const MAX_EVENT_SIZE: usize = 256 * 1024;

/// Largest message to a device in bytes, including its properties.
pub const MAX_MESSAGE_SIZE: usize = 64 * 1024;

/// The consumer group that every hub has.
pub const DEFAULT_CONSUMER_GROUP: &str = "$Default";
