//! The heads: one per protocol. Each translates bytes into operations of callers, and back.

pub(crate) mod amqp;
pub(crate) mod blob;
pub(crate) mod mqtt;
pub(crate) mod rest;
