//! The type system of AMQP 1.0 (AMQP part 1): values borrowed from their input, and an encoder.
//!
//! Decoding allocates nothing. A compound value is checked once, completely, when it is decoded; its iterators then
//! cannot fail.

mod composite;
mod compound;
mod constructor;
mod decode;
mod encode;
mod error;
mod field;
mod value;

pub use composite::{Composite, Owned, View};
pub use compound::{Array, Items, List, Map, Pairs};
pub use decode::{MAX_DEPTH, MAX_EMPTY_ELEMENTS};
pub use encode::Encoder;
pub use error::DecodeError;
pub use field::{Field, Symbols, Timestamp};
pub use value::{Described, Descriptor, Symbol, Value};

pub(crate) use composite::composite;
pub(crate) use decode::{described, section};
