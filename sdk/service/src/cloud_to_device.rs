//! Cloud-to-device messages, and the feedback on them.

mod feedback;
mod send;

pub use feedback::{FeedbackStream, LockedFeedback};
pub use send::CloudToDeviceMessage;
