//! Events of the server state machine.

use crate::{Connect, PacketId, Publish, Subscribe, Unsubscribe};

/// An event that the application handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The client sent CONNECT. Call `accept` or `reject`; other input is not processed before.
    Connect(Box<Connect>),
    /// The client sent a message with QoS 0 or 1. For QoS 1 (the message has a packet identifier) call `puback` once
    /// the message is persisted, in the order of arrival (MQTT-4.6.0-2).
    Publish(Publish),
    /// The client acknowledged a message that was sent with QoS 1.
    PubAck(PacketId),
    /// The client sent SUBSCRIBE. Call `suback`.
    Subscribe(Subscribe),
    /// The client sent UNSUBSCRIBE. Call `unsuback`.
    Unsubscribe(Unsubscribe),
    /// The client sent DISCONNECT: discard its will (MQTT-3.14.4-3) and close. The last event.
    Disconnect,
}
