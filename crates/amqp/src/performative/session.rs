//! Begin and end (AMQP §2.7.2, 2.7.8).

use super::AmqpError;
use crate::codec::{Map, Symbols, composite};

composite! {
    /// Begins a session (AMQP §2.7.2).
    Begin<'a>(0x11, "amqp:begin:list") {
        /// Channel of the begin that this one answers.
        remote_channel: Option<u16> = optional,
        /// Transfer id of the next transfer that the sender sends.
        next_outgoing_id: u32 = mandatory,
        /// Transfer frames that the sender accepts.
        incoming_window: u32 = mandatory,
        /// Transfer frames that the sender wants to send.
        outgoing_window: u32 = mandatory,
        /// Highest handle that the sender accepts.
        handle_max: u32 = default(u32::MAX),
        /// Extensions that the sender supports.
        offered_capabilities: Option<Symbols<'a>> = optional,
        /// Extensions that the sender wants.
        desired_capabilities: Option<Symbols<'a>> = optional,
        /// Properties of the session.
        properties: Option<Map<'a>> = optional,
    }

    /// Ends a session (AMQP §2.7.8).
    End<'a>(0x17, "amqp:end:list") {
        /// The reason, if it is not orderly.
        error: Option<AmqpError<'a>> = optional,
    }
}
