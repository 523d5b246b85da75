//! Listeners and streams: TCP, TLS and WebSocket. A listener accepts connections, as admission control allows, and passes
//! each to the head of its protocol.

pub(crate) mod accept_errors;
pub(crate) mod peer;
pub(crate) mod tcp;
pub mod tls;
pub(crate) mod websocket;
pub(crate) mod write_timeout;
