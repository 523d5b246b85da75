//! AMQP 1.0 without I/O: codec, messages, server state machine and client state machine.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic is how a test fails"))]

mod codec;
pub mod frame;
pub mod message;
pub mod performative;

pub use codec::{
    Array, Composite, DecodeError, Described, Descriptor, Encoder, Field, Items, List, MAX_DEPTH,
    MAX_EMPTY_ELEMENTS, Map, Owned, Pairs, Symbol, Symbols, Timestamp, Value, View,
};
