//! The server machine's limits.

use std::time::Duration;

use crate::Limits;

/// Limits of a server's connections; one value is shared by all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// For packets after CONNECT.
    pub limits: Limits,
    /// The largest CONNECT, in bytes. Default 8 KiB: IoT Hub's user name and SAS token take less than 4.
    pub max_connect_size: usize,
    /// How much input behind CONNECT is held until the application has answered. Default 16 KiB: a driver that reads
    /// no more at once and obeys `wants_read` never meets this limit.
    pub max_held_input: usize,
    /// How long a client may take to send CONNECT, and the application to answer it. Default 60 s.
    pub connect_timeout: Duration,
    /// The longest silence of a client, whatever keep-alive it asked for. Default 1767 s, as IoT Hub has it.
    pub max_keep_alive: Duration,
    /// How many QoS 1 messages may wait for the client's PUBACK. Default 16.
    pub max_in_flight: usize,
    /// With more than this to send, `wants_read` is false: a client that does not read is not read. Default 64 KiB.
    pub max_transmit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_connect_size: 8 * 1024,
            max_held_input: 16 * 1024,
            connect_timeout: Duration::from_secs(60),
            max_keep_alive: Duration::from_secs(1767),
            max_in_flight: 16,
            max_transmit: 64 * 1024,
        }
    }
}

impl Config {
    /// The silence after which a client with this keep-alive is gone (MQTT-3.1.2-24), capped.
    pub(super) fn keep_alive_timeout(&self, keep_alive: u16) -> Duration {
        match keep_alive {
            0 => self.max_keep_alive,
            seconds => Duration::from_millis(u64::from(seconds) * 1500).min(self.max_keep_alive),
        }
    }
}
