//! Header and properties of a message (AMQP §3.2.1, 3.2.4).

use crate::codec::{Symbol, Timestamp, Value, composite};

composite! {
    /// Delivery details of a message (AMQP §3.2.1).
    Header(0x70, "amqp:header:list") {
        /// Whether the message must survive a failure.
        durable: Option<bool> = optional,
        /// Priority; 4 if absent.
        priority: Option<u8> = optional,
        /// Milliseconds that the message lives.
        ttl: Option<u32> = optional,
        /// Whether no other link has received the message before.
        first_acquirer: Option<bool> = optional,
        /// Earlier attempts to deliver the message.
        delivery_count: Option<u32> = optional,
    }

    /// Immutable properties of a message (AMQP §3.2.4).
    Properties<'a>(0x73, "amqp:properties:list") {
        /// Id: ulong, uuid, binary or string. An answer repeats it, with its type, as `correlation_id`.
        message_id: Option<Value<'a>> = optional,
        /// The user who made the message.
        user_id: Option<&'a [u8]> = optional,
        /// Address of the node that the message is for.
        to: Option<&'a str> = optional,
        /// What the message is about.
        subject: Option<&'a str> = optional,
        /// Address for answers.
        reply_to: Option<&'a str> = optional,
        /// The message that this one belongs to; see also [`correlation`](Properties::correlation).
        correlation_id: Option<Value<'a>> = optional,
        /// MIME type of the data.
        content_type: Option<Symbol<'a>> = optional,
        /// MIME encoding of the data.
        content_encoding: Option<Symbol<'a>> = optional,
        /// When the message is of no use any more; see also [`expires_at`](Properties::expires_at).
        absolute_expiry_time: Option<Timestamp> = optional,
        /// When the message was made.
        creation_time: Option<Timestamp> = optional,
        /// The group that the message belongs to.
        group_id: Option<&'a str> = optional,
        /// Position in the group.
        group_sequence: Option<u32> = optional,
        /// Group for answers.
        reply_to_group_id: Option<&'a str> = optional,
    }
}

impl<'a> Properties<'a> {
    /// The correlation id, without the empty string: Go clients write it for "none".
    #[must_use]
    pub fn correlation(&self) -> Option<Value<'a>> {
        self.correlation_id.filter(|id| *id != Value::String(""))
    }

    /// When the message expires, in milliseconds since 1970-01-01 UTC, without times up to 1970: Go clients write one
    /// for "never".
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        self.absolute_expiry_time.map(|Timestamp(time)| time).filter(|time| *time > 0)
    }
}
