//! The client side of one connection, for the device SDK and the load generator.
//!
//! The state machine sends CONNECT and PINGREQ, keeps QoS 1 messages until they are acknowledged, sends them again on
//! the next connection, and refuses packets that a server must not send. The driver detects that the socket closed and
//! decides when to reconnect.

mod config;
mod connection;
mod event;
mod session;

pub use config::Config;
pub use connection::Connection;
pub use event::Event;
pub use session::Session;
