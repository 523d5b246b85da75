//! What devices and back ends send each other besides calls: a body with properties.

mod event;
mod partition;
mod properties;
mod system;

pub use event::{Event, EventBody};
pub use partition::{EventLogInfo, Partition};
pub use properties::{MalformedBag, MessageProperties};
pub use system::SystemProperty;

/// Largest message from a device, body and properties, in bytes.
pub const MAX_EVENT_SIZE: usize = 256 * 1024;

/// Consumer group that every hub has.
pub const DEFAULT_CONSUMER_GROUP: &str = "$Default";
