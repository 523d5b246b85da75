//! Limits of the server state machine.

use std::time::Duration;

use crate::Limits;

/// Limits of a server's connections; all connections share one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Decoder limits for packets after CONNECT.
    pub limits: Limits,
    /// Maximum size of CONNECT in bytes. Default 8 KiB: IoT Hub's user name and SAS token need less than 4 KiB.
    pub max_connect_size: usize,
    /// Maximum input in bytes that is buffered after CONNECT until the application accepts or rejects it. Default
    /// 16 KiB: a driver that reads at most 16 KiB per call and obeys `wants_read` never reaches this limit.
    pub max_buffered_input: usize,
    /// Time-out for the client to send CONNECT and the application to accept or reject it together. Default 60 s.
    pub connect_timeout: Duration,
    /// Maximum time without input, regardless of the keep-alive in CONNECT. Default 1767 s, as in IoT Hub.
    pub max_keep_alive: Duration,
    /// Maximum number of QoS 1 messages without PUBACK. Default 16.
    pub max_in_flight: usize,
    /// Maximum output in bytes that may be pending before `wants_read` returns false: a client that does not read is
    /// not read from. Default 64 KiB.
    pub max_transmit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_connect_size: 8 * 1024,
            max_buffered_input: 16 * 1024,
            connect_timeout: Duration::from_secs(60),
            max_keep_alive: Duration::from_secs(1767),
            max_in_flight: 16,
            max_transmit: 64 * 1024,
        }
    }
}

impl Config {
    /// Returns the time without input after which a client with this keep-alive is disconnected (MQTT-3.1.2-24), at
    /// most `max_keep_alive`.
    pub(super) fn keep_alive_timeout(&self, keep_alive: u16) -> Duration {
        match keep_alive {
            0 => self.max_keep_alive,
            seconds => Duration::from_millis(u64::from(seconds) * 1500).min(self.max_keep_alive),
        }
    }
}
