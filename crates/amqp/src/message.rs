//! Messages (AMQP §3.2): sections that are found when a message arrives and decoded when they are asked for.
//!
//! [`Message::parse`] only looks at the constructors and sizes of sections. [`MessageEncoder`] writes a message into a
//! buffer. [`Batch`] is Microsoft's format for many messages in one.

mod batch;
mod body;
mod encoder;
mod properties;
mod sections;

pub use batch::{BATCH_FORMAT, Batch};
pub use body::{Body, Data, Sequences};
pub use encoder::MessageEncoder;
pub use properties::{Header, Properties};
pub use sections::Message;

/// The `message-format` of a message as AMQP §3.2.16 defines it.
pub const STANDARD_FORMAT: u32 = 0;

/// Descriptors of the sections, in the order in which they must stand (AMQP §3.2).
mod code {
    pub(super) const HEADER: u64 = 0x70;
    pub(super) const DELIVERY_ANNOTATIONS: u64 = 0x71;
    pub(super) const MESSAGE_ANNOTATIONS: u64 = 0x72;
    pub(super) const PROPERTIES: u64 = 0x73;
    pub(super) const APPLICATION_PROPERTIES: u64 = 0x74;
    pub(super) const DATA: u64 = 0x75;
    pub(super) const SEQUENCE: u64 = 0x76;
    pub(super) const VALUE: u64 = 0x77;
    pub(super) const FOOTER: u64 = 0x78;
}
