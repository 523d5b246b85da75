//! What outlives a client's connection (4.1).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{PacketId, Utf8};

/// The QoS 1 messages that no server acknowledged yet, and where identifiers continue.
///
/// A new client begins with `Session::default()`; after the connection's end,
/// [`Connection::into_session`](super::Connection::into_session) gives what the next one needs.
#[derive(Debug, Clone)]
pub struct Session {
    /// Oldest first: they are sent again in this order (MQTT-4.6.0-1).
    pub(super) unacknowledged: VecDeque<Unacknowledged>,
    pub(super) next_id: PacketId,
}

#[derive(Debug, Clone)]
pub(super) struct Unacknowledged {
    pub(super) packet_id: PacketId,
    pub(super) topic: Utf8,
    pub(super) payload: Bytes,
}

impl Default for Session {
    fn default() -> Self {
        Self { unacknowledged: VecDeque::new(), next_id: PacketId::FIRST }
    }
}

impl Session {
    /// Identifiers of the messages that are not acknowledged, oldest first.
    pub fn unacknowledged(&self) -> impl ExactSizeIterator<Item = PacketId> {
        self.unacknowledged.iter().map(|message| message.packet_id)
    }

    /// Gives a message up: it is not sent again. Whether it was there.
    pub fn remove(&mut self, packet_id: PacketId) -> bool {
        let Some(index) = self.unacknowledged.iter().position(|message| message.packet_id == packet_id)
        else {
            return false;
        };
        self.unacknowledged.remove(index);
        if self.unacknowledged.is_empty() {
            self.unacknowledged = VecDeque::new();
        }
        true
    }

    pub(super) fn contains(&self, packet_id: PacketId) -> bool {
        self.unacknowledged.iter().any(|message| message.packet_id == packet_id)
    }
}
