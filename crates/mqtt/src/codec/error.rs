//! Errors of the decoder and the encoder.

use thiserror::Error;

use crate::{PacketKind, Utf8Error};

/// The bytes violate MQTT 3.1.1 or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Packet type 0 or 15 (MQTT 3.1.1, table 2.1).
    #[error("reserved packet type {0}")]
    ReservedType(u8),
    /// Flags of the fixed header that table 2.2 of MQTT 3.1.1 does not allow (MQTT-2.2.2-2), including QoS 3 and DUP
    /// with QoS 0.
    #[error("invalid flags {flags:#06b} in {kind:?} packet")]
    Flags {
        /// The packet type.
        kind: PacketKind,
        /// The lower four bits of the first byte.
        flags: u8,
    },
    /// A Remaining Length of more than four bytes (MQTT 3.1.1, section 2.2.3).
    #[error("malformed remaining length")]
    RemainingLength,
    /// The packet exceeds [`Limits::max_packet_size`](crate::Limits::max_packet_size).
    #[error("packet of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The packet's size in bytes, including the fixed header.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The number of filters exceeds [`Limits::max_filters`](crate::Limits::max_filters).
    #[error("more than {limit} topic filters")]
    TooManyFilters {
        /// The limit.
        limit: usize,
    },
    /// The packet ends before its last field, or has bytes after it.
    #[error("the remaining length of the {0:?} packet does not match its fields")]
    Length(PacketKind),
    /// A string that MQTT does not allow.
    #[error(transparent)]
    Utf8(#[from] Utf8Error),
    /// Packet identifier 0 (MQTT-2.3.1-1).
    #[error("packet identifier is zero")]
    ZeroPacketId,
    /// SUBSCRIBE, UNSUBSCRIBE or SUBACK without filters or codes (MQTT-3.8.3-3, MQTT-3.10.3-2).
    #[error("{0:?} packet is empty")]
    Empty(PacketKind),
    /// An empty topic or filter (MQTT-4.7.3-1).
    #[error("topic is empty")]
    EmptyTopic,
    /// A wildcard in the topic of a message (MQTT-3.3.2-2).
    #[error("wildcard in the topic of a message")]
    Wildcard,
    /// QoS 3, or reserved bits set in a QoS byte (MQTT-3.8.3-4).
    #[error("invalid QoS {0:#04x}")]
    QoS(u8),
    /// CONNECT of another protocol than MQTT (MQTT-3.1.2-1). Close without a response.
    #[error("protocol name is not MQTT")]
    ProtocolName,
    /// CONNECT of another version of MQTT (MQTT-3.1.2-2). Answered with return code 1.
    #[error("protocol level {0} is not supported")]
    ProtocolLevel(u8),
    /// Connect flags that exclude each other or are reserved (MQTT-3.1.2-3, -11, -13, -14, -15, -22).
    #[error("invalid connect flags {0:#010b}")]
    ConnectFlags(u8),
    /// CONNACK flags or return code that are not in table 3.1 of MQTT 3.1.1.
    #[error("invalid CONNACK {flags:#04x} {code:#04x}")]
    ConnAck {
        /// First byte.
        flags: u8,
        /// Second byte.
        code: u8,
    },
    /// SUBACK return code other than 0, 1, 2, 0x80 (MQTT-3.9.3-2).
    #[error("invalid SUBACK return code {0:#04x}")]
    SubscribeCode(u8),
}

/// The packet cannot be encoded in MQTT 3.1.1. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Longer than [`MAX_REMAINING_LENGTH`](crate::MAX_REMAINING_LENGTH).
    #[error("packet is too large")]
    TooLarge,
    /// A topic, filter, password or will payload of more than 65 535 bytes.
    #[error("field is longer than 65535 bytes")]
    FieldTooLong,
    /// A topic with U+0000 or, if wildcards are not allowed, a wildcard.
    #[error("the topic contains a wildcard or U+0000")]
    TopicCharacter,
    /// An empty topic or filter (MQTT-4.7.3-1).
    #[error("topic is empty")]
    EmptyTopic,
    /// SUBSCRIBE, UNSUBSCRIBE or SUBACK without filters or codes.
    #[error("packet has no filters or codes")]
    Empty,
    /// A packet identifier with QoS 0, or none with QoS 1 or 2, or DUP with QoS 0.
    #[error("packet identifier or DUP does not match the QoS")]
    PacketId,
    /// A password without a user name (MQTT-3.1.2-22).
    #[error("password without user name")]
    PasswordWithoutUsername,
    /// The topic's `Display` failed.
    #[error("cannot format the topic")]
    Format,
}
