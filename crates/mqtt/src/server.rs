//! The server's side of one connection.
//!
//! What the machine does alone: it demands CONNECT first and once, answers PINGREQ, counts packet identifiers, watches
//! connect time and keep-alive, and refuses QoS 2 and whatever a client may not send. What the application does:
//! authenticate, acknowledge, subscribe, route.

mod config;
mod connection;
mod event;

pub use config::Config;
pub use connection::Connection;
pub use event::Event;
