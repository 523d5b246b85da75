//! Events of the client state machine.

use crate::{PacketId, Publish, Refusal, SubscribeCode};

/// An event that the application handles. MQTT 3.1.1 servers do not send DISCONNECT: the driver sees the socket close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server accepted the connection. Unacknowledged messages of the session are sent again.
    Connected {
        /// Whether the server kept the subscriptions of this client.
        session_present: bool,
    },
    /// The server refused the connection. The last event.
    Refused(Refusal),
    /// The server sent a message with QoS 0 or 1.
    Publish(Publish),
    /// The server acknowledged a message.
    PubAck(PacketId),
    /// The server acknowledged a SUBSCRIBE.
    SubAck {
        /// The identifier that `subscribe` returned.
        packet_id: PacketId,
        /// One code per filter, in the same order.
        codes: Vec<SubscribeCode>,
    },
    /// The server acknowledged an UNSUBSCRIBE; contains the identifier that `unsubscribe` returned.
    UnsubAck(PacketId),
}
