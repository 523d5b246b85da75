//! Open and close (AMQP §2.7.1, 2.7.9).

use super::AmqpError;
use crate::codec::{Map, Symbols, View, composite};

composite! {
    /// Opens a connection (AMQP §2.7.1).
    Open<'a>(0x10, "amqp:open:list") {
        /// Name of the sender's container.
        container_id: &'a str = mandatory,
        /// Host that the client means.
        hostname: Option<&'a str> = optional,
        /// Largest frame in bytes that the sender of this performative accepts.
        max_frame_size: u32 = default(u32::MAX),
        /// Highest channel number that the sender accepts.
        channel_max: u16 = default(u16::MAX),
        /// Time in milliseconds after which the sender gives up a silent peer.
        idle_time_out: Option<u32> = optional,
        /// Locales for texts that are sent.
        outgoing_locales: Option<Symbols<'a>> = optional,
        /// Locales for texts that are wanted.
        incoming_locales: Option<Symbols<'a>> = optional,
        /// Extensions that the sender supports.
        offered_capabilities: Option<Symbols<'a>> = optional,
        /// Extensions that the sender wants.
        desired_capabilities: Option<Symbols<'a>> = optional,
        /// Properties, such as the product's name; the Azure command line keys them by strings.
        properties: Option<Map<'a>> = optional,
    }

    /// Closes a connection (AMQP §2.7.9).
    Close<'a>(0x18, "amqp:close:list") {
        /// The reason, if it is not orderly.
        error: Option<AmqpError<'a>> = optional,
    }
}

impl View for Open<'static> {
    type Of<'a> = Open<'a>;
}
