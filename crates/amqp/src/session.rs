//! Sessions and links (AMQP §2.5, 2.6), for both sides of a connection.
//!
//! A session has two flow controls: windows count transfer frames for the session, credit counts messages for each link.
//! Both are serial numbers that may wrap around.

mod attach;
mod disposition;
mod flow;
mod incoming;
mod link;
mod outgoing;
mod state;

use crate::{Config, ProtocolError, output::Output};

pub use attach::Grant;
pub use outgoing::Outbound;

pub(crate) use link::Link;
pub(crate) use state::{Session, Stage};

/// What the sessions of a connection share.
pub(crate) struct Shared<'c> {
    pub(crate) config: &'c Config,
    pub(crate) output: &'c mut Output,
    pub(crate) counters: &'c mut Counters,
    /// Maximum number of links of all sessions.
    max_links: usize,
}

/// Counts over all sessions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of deliveries of which a part has arrived.
    pub(crate) assembly: usize,
    /// Links that have a record.
    pub(crate) links: usize,
    /// The last serial number of a session, link or sent message.
    serial: u32,
}

impl<'c> Shared<'c> {
    pub(crate) fn new(
        config: &'c Config,
        output: &'c mut Output,
        counters: &'c mut Counters,
        authenticated: bool,
    ) -> Self {
        let max_links = match authenticated {
            true => config.max_links,
            false => config.max_links.min(config.unauthenticated.max_links),
        };
        Self { config, output, counters, max_links }
    }

    /// Whether one more link is allowed.
    fn has_room_for_link(&self) -> bool {
        self.counters.links < self.max_links
    }
}

impl Counters {
    pub(crate) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }
}

/// Why a session cannot go on: the condition of the end that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// End the session with this condition and text.
    Session(&'static str, &'static str),
    /// Close the connection.
    Connection(ProtocolError),
}

impl From<ProtocolError> for Violation {
    fn from(error: ProtocolError) -> Self {
        Self::Connection(error)
    }
}
