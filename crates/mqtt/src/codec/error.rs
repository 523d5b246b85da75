//! Why bytes are no packet, and a packet no bytes.

use thiserror::Error;

use crate::{PacketKind, Utf8Error};

/// The bytes break MQTT 3.1.1 or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Packet type 0 or 15 (table 2.1).
    #[error("reserved packet type {0}")]
    ReservedType(u8),
    /// Flags of the fixed header that table 2.2 does not allow (MQTT-2.2.2-2), among them QoS 3 and DUP with QoS 0.
    #[error("invalid flags {flags:#06b} in {kind:?} packet")]
    Flags {
        /// The packet.
        kind: PacketKind,
        /// Its lower four bits.
        flags: u8,
    },
    /// A Remaining Length of more than four bytes (2.2.3).
    #[error("malformed remaining length")]
    RemainingLength,
    /// Over [`Limits::max_packet_size`](crate::Limits::max_packet_size).
    #[error("packet of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// The packet's size, fixed header included.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Over [`Limits::max_filters`](crate::Limits::max_filters).
    #[error("more than {limit} topic filters")]
    TooManyFilters {
        /// The limit.
        limit: usize,
    },
    /// The packet ends before its fields do, or has bytes behind them.
    #[error("length of {0:?} packet does not fit its fields")]
    Length(PacketKind),
    /// A string that MQTT does not allow.
    #[error(transparent)]
    Utf8(#[from] Utf8Error),
    /// Packet identifier 0 (MQTT-2.3.1-1).
    #[error("packet identifier is zero")]
    ZeroPacketId,
    /// SUBSCRIBE, UNSUBSCRIBE or SUBACK with nothing in it (MQTT-3.8.3-3, MQTT-3.10.3-2).
    #[error("{0:?} packet is empty")]
    Empty(PacketKind),
    /// An empty topic or filter (MQTT-4.7.3-1).
    #[error("topic is empty")]
    EmptyTopic,
    /// A wildcard in the topic of a message (MQTT-3.3.2-2).
    #[error("wildcard in the topic of a message")]
    Wildcard,
    /// A QoS of 3, or reserved bits beside one (MQTT-3.8.3-4).
    #[error("invalid QoS {0:#04x}")]
    QoS(u8),
    /// CONNECT of something that is not MQTT (MQTT-3.1.2-1). Close without an answer.
    #[error("protocol name is not MQTT")]
    ProtocolName,
    /// CONNECT of another version of MQTT (MQTT-3.1.2-2). Answered with return code 1.
    #[error("protocol level {0} is not supported")]
    ProtocolLevel(u8),
    /// Connect flags that exclude each other or are reserved (MQTT-3.1.2-3, -11, -13, -14, -15, -22).
    #[error("invalid connect flags {0:#010b}")]
    ConnectFlags(u8),
    /// CONNACK flags or return code out of table 3.1.
    #[error("invalid CONNACK {flags:#04x} {code:#04x}")]
    ConnAck {
        /// First byte.
        flags: u8,
        /// Second byte.
        code: u8,
    },
    /// SUBACK return code out of 0, 1, 2, 0x80 (MQTT-3.9.3-2).
    #[error("invalid SUBACK return code {0:#04x}")]
    SubscribeCode(u8),
}

/// The packet cannot be said in MQTT 3.1.1. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Longer than [`MAX_REMAINING_LENGTH`](crate::MAX_REMAINING_LENGTH).
    #[error("packet is too large")]
    TooLarge,
    /// A topic, filter, password or will payload of more than 65 535 bytes.
    #[error("field is longer than 65535 bytes")]
    FieldTooLong,
    /// A topic with U+0000 or, where that is not allowed, a wildcard.
    #[error("character that a topic cannot have")]
    TopicCharacter,
    /// An empty topic or filter (MQTT-4.7.3-1).
    #[error("topic is empty")]
    EmptyTopic,
    /// SUBSCRIBE, UNSUBSCRIBE or SUBACK with nothing in it.
    #[error("packet has no filters or codes")]
    Empty,
    /// A packet identifier with QoS 0, or none with QoS 1 or 2, or DUP with QoS 0.
    #[error("packet identifier or DUP does not fit the QoS")]
    PacketId,
    /// A password without a user name (MQTT-3.1.2-22).
    #[error("password without user name")]
    PasswordWithoutUsername,
    /// The topic's `Display` failed.
    #[error("topic could not be formatted")]
    Format,
}
