//! The server side of one connection.
//!
//! The state machine requires CONNECT as the first packet and only once, answers PINGREQ, assigns packet identifiers,
//! enforces the connect time-out and the keep-alive, and refuses QoS 2 and all packets that a client must not send. The
//! application authenticates, acknowledges, subscribes and routes.

mod config;
mod connection;
mod event;

pub use config::Config;
pub use connection::Connection;
pub use event::Event;
