//! The client machine's limits.

use std::time::Duration;

use crate::Limits;

/// Limits and choices of a client; many connections may share one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// For packets of the server.
    pub limits: Limits,
    /// How long the server may take to answer CONNECT. Default 60 s.
    pub connect_timeout: Duration,
    /// How long the server may take to answer a ping, at most a keep-alive. Default 30 s.
    pub ping_timeout: Duration,
    /// How many packets of ours may wait for an acknowledgement. Default 32.
    pub max_in_flight: usize,
    /// With more than this to send, `wants_read` is false. Default 64 KiB.
    pub max_transmit: usize,
    /// Whether PUBACK is sent when `poll_event` hands a QoS 1 message out, or by `puback`. Default true.
    pub auto_puback: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(60),
            ping_timeout: Duration::from_secs(30),
            max_in_flight: 32,
            max_transmit: 64 * 1024,
            auto_puback: true,
        }
    }
}
