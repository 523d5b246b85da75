//! Transports: sockets, TLS and WebSocket. They admit connections and give them to a head.

pub(crate) mod accept_errors;
pub(crate) mod peer;
pub(crate) mod tcp;
pub mod tls;
pub(crate) mod websocket;
pub(crate) mod write_timeout;
