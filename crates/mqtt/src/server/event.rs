//! What a client did.

use crate::{Connect, PacketId, Publish, Subscribe, Unsubscribe};

/// Something for the application to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It wants to connect. Answer with `accept` or `reject`; nothing else is processed before.
    Connect(Box<Connect>),
    /// It sent a message, with QoS 0 or 1. Answer QoS 1, which has a packet identifier, with `puback` when the message
    /// is safe, in the order of arrival (MQTT-4.6.0-2).
    Publish(Publish),
    /// It has a message that was sent with QoS 1.
    PubAck(PacketId),
    /// It wants messages. Answer with `suback`.
    Subscribe(Subscribe),
    /// It wants no more of some messages. Answer with `unsuback`.
    Unsubscribe(Unsubscribe),
    /// It left in good order: drop its will (MQTT-3.14.4-3) and close. The last event.
    Disconnect,
}
