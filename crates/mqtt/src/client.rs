//! The client's side of one connection, for the device SDK and the load generator.
//!
//! What the machine does alone: it sends CONNECT, pings, keeps QoS 1 messages until they are acknowledged and sends
//! them again on the next connection, and refuses what a server may not send. What it leaves to its driver: to notice
//! that the socket closed, and when to connect again.

mod config;
mod connection;
mod event;
mod session;

pub use config::Config;
pub use connection::Connection;
pub use event::Event;
pub use session::Session;
