//! Limits of the state machine, and what it announces.

use std::{borrow::Cow, time::Duration};

/// Limits of a connection and the values of its open and begin; all connections share one value.
///
/// The defaults are those of Azure IoT Hub, where they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of the container in our open. Default `ferrohub`.
    pub container_id: Cow<'static, str>,
    /// Host in our open. A server says `localhost`, as Azure does; a client says which server it means.
    pub hostname: Option<Cow<'static, str>>,
    /// SASL mechanisms that a server offers. Default PLAIN, ANONYMOUS, EXTERNAL, MSSBCBS. A client may always open a
    /// connection without SASL.
    pub sasl_mechanisms: &'static [&'static str],
    /// Largest frame in bytes that is accepted, and announced. Default 64 KiB; at least 512.
    pub max_frame_size: u32,
    /// Highest channel that is accepted, and announced. Default 8191.
    pub channel_max: u16,
    /// Maximum number of sessions. More are ended with `amqp:resource-limit-exceeded`. Default 1024: the .NET SDK puts
    /// up to 995 devices on one connection, each in a session.
    pub max_sessions: usize,
    /// Highest handle that is accepted in a session, and announced. Default 255.
    pub handle_max: u16,
    /// Maximum number of links in all sessions. More are detached with `amqp:resource-limit-exceeded`. Default 8192.
    pub max_links: usize,
    /// Transfer frames that a session's peer may send before we renew the window, which happens when half is used.
    /// Default 5000.
    pub incoming_window: u32,
    /// Maximum number of bytes in deliveries of which a part has arrived, in all links. A link whose delivery exceeds it
    /// is detached with `amqp:resource-limit-exceeded`. Default 4 MiB.
    pub max_assembly: usize,
    /// Maximum number of deliveries of one link that we sent and the peer has not settled. Default 1024.
    pub max_unsettled: usize,
    /// Output in bytes that may be pending before `wants_read` returns false and `send` refuses messages. Default
    /// 64 KiB.
    pub max_transmit: usize,
    /// The idle time-out that is announced; the peer is given up after twice this time. Default 240 s. Some clients send
    /// heartbeats late: keep it long.
    pub idle_time_out: Duration,
    /// Time for the connection to be opened and authenticated. Default 60 s.
    pub handshake_timeout: Duration,
    /// Input in bytes that is buffered until the application decides about SASL. Default 16 KiB: a driver that reads at
    /// most 16 KiB per call and obeys `wants_read` never reaches this limit.
    pub max_buffered_input: usize,
    /// Limits until [`set_authenticated`](crate::Connection::set_authenticated).
    pub unauthenticated: Unauthenticated,
}

/// Limits of a server's connection until the application has authenticated the client. They apply in addition to the
/// others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unauthenticated {
    /// Largest frame in bytes. Default 16 KiB, enough for a put-token with a JWT of an identity provider.
    pub max_frame_size: u32,
    /// Maximum input in bytes of all frames together. Default 64 KiB.
    pub max_input: usize,
    /// Maximum number of sessions. Default 2.
    pub max_sessions: usize,
    /// Maximum number of links. Default 8: a device with an X.509 certificate attaches six before anyone has looked at
    /// the first.
    pub max_links: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            container_id: Cow::Borrowed("ferrohub"),
            hostname: Some(Cow::Borrowed("localhost")),
            sasl_mechanisms: &["PLAIN", "ANONYMOUS", "EXTERNAL", "MSSBCBS"],
            max_frame_size: 64 * 1024,
            channel_max: 8191,
            max_sessions: 1024,
            handle_max: 255,
            max_links: 8192,
            incoming_window: 5000,
            max_assembly: 4 * 1024 * 1024,
            max_unsettled: 1024,
            max_transmit: 64 * 1024,
            idle_time_out: Duration::from_secs(240),
            handshake_timeout: Duration::from_secs(60),
            max_buffered_input: 16 * 1024,
            unauthenticated: Unauthenticated::default(),
        }
    }
}

impl Default for Unauthenticated {
    fn default() -> Self {
        Self { max_frame_size: 16 * 1024, max_input: 64 * 1024, max_sessions: 2, max_links: 8 }
    }
}
