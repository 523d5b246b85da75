//! Limits and options of the client state machine.

use std::time::Duration;

use crate::Limits;

/// Limits and options of a client; many connections may share one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Decoder limits for packets of the server.
    pub limits: Limits,
    /// Time-out for CONNACK. Default 60 s.
    pub connect_timeout: Duration,
    /// Time-out for PINGRESP; capped at the keep-alive. Default 30 s.
    pub ping_timeout: Duration,
    /// Maximum number of unacknowledged packets. Default 32.
    pub max_in_flight: usize,
    /// Maximum output in bytes that may be pending before `wants_read` returns false. Default 64 KiB.
    pub max_transmit: usize,
    /// Whether `poll_event` sends PUBACK when it returns a QoS 1 message; if false, call `puback`. Default true.
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
