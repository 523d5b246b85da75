//! The client state that outlives a connection (MQTT 3.1.1, section 4.1).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{PacketId, Utf8};

/// The unacknowledged QoS 1 messages and the next packet identifier.
///
/// A new client starts with `Session::default()`. After a connection has ended,
/// [`Connection::into_session`](super::Connection::into_session) returns the session for the next one.
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
    /// Returns the identifiers of the unacknowledged messages, oldest first.
    pub fn unacknowledged(&self) -> impl ExactSizeIterator<Item = PacketId> {
        self.unacknowledged.iter().map(|message| message.packet_id)
    }

    /// Removes a message, so that it is not sent again. Returns whether it was present.
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
