//! What the server did.

use crate::{PacketId, Publish, Refusal, SubscribeCode};

/// Something for the application to act on. MQTT 3.1.1 servers do not say good-bye: the driver sees the socket close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It accepted the connection. Unacknowledged messages of the session are on their way again.
    Connected {
        /// Whether it kept this client's subscriptions.
        session_present: bool,
    },
    /// It refused the connection. The last event.
    Refused(Refusal),
    /// It sent a message, with QoS 0 or 1.
    Publish(Publish),
    /// It has a message of ours.
    PubAck(PacketId),
    /// It answered a SUBSCRIBE.
    SubAck {
        /// What `subscribe` gave.
        packet_id: PacketId,
        /// One per filter, in their order.
        codes: Vec<SubscribeCode>,
    },
    /// It answered an UNSUBSCRIBE.
    UnsubAck(PacketId),
}
