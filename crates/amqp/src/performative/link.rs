//! Attach, flow and detach (AMQP §2.7.3, 2.7.4, 2.7.7).

use super::{AmqpError, ReceiverSettleMode, Role, SenderSettleMode, Source, Target};
use crate::codec::{Map, Symbols, View, composite};

composite! {
    /// Attaches a link (AMQP §2.7.3).
    Attach<'a>(0x12, "amqp:attach:list") {
        /// Name of the link, unique among the links of this direction in the session.
        name: &'a str = mandatory,
        /// Number by which the sender of this performative refers to the link.
        handle: u32 = mandatory,
        /// What the sender of this performative is on the link.
        role: Role = mandatory,
        /// Whether deliveries are sent settled.
        snd_settle_mode: Option<SenderSettleMode> = optional,
        /// Whether the receiver settles first.
        rcv_settle_mode: Option<ReceiverSettleMode> = optional,
        /// Where messages come from.
        source: Option<Source<'a>> = optional,
        /// Where messages go to.
        target: Option<Target<'a>> = optional,
        /// Unsettled deliveries of an earlier link.
        unsettled: Option<Map<'a>> = optional,
        /// Whether `unsettled` is incomplete.
        incomplete_unsettled: Option<bool> = optional,
        /// First delivery-count; mandatory for a sender.
        initial_delivery_count: Option<u32> = optional,
        /// Largest message in bytes; 0 and null are no limit.
        max_message_size: Option<u64> = optional,
        /// Extensions that the sender supports.
        offered_capabilities: Option<Symbols<'a>> = optional,
        /// Extensions that the sender wants.
        desired_capabilities: Option<Symbols<'a>> = optional,
        /// Properties of the link.
        properties: Option<Map<'a>> = optional,
    }

    /// Updates windows and credit (AMQP §2.7.4).
    Flow<'a>(0x13, "amqp:flow:list") {
        /// Transfer id that the sender expects next; absent until it has seen the peer's begin.
        next_incoming_id: Option<u32> = optional,
        /// Transfer frames that the sender accepts.
        incoming_window: u32 = mandatory,
        /// Transfer id of the next transfer that the sender sends.
        next_outgoing_id: u32 = mandatory,
        /// Transfer frames that the sender wants to send.
        outgoing_window: u32 = mandatory,
        /// The link; absent for the session alone.
        handle: Option<u32> = optional,
        /// Deliveries that the link's sender has sent.
        delivery_count: Option<u32> = optional,
        /// Deliveries that the link's receiver accepts after `delivery_count`.
        link_credit: Option<u32> = optional,
        /// Deliveries that the link's sender has ready.
        available: Option<u32> = optional,
        /// Whether the sender should use up or give back all credit at once.
        drain: bool = default(false),
        /// Whether a flow is wanted as an answer.
        echo: bool = default(false),
        /// Properties of the link's state.
        properties: Option<Map<'a>> = optional,
    }

    /// Detaches a link (AMQP §2.7.7).
    Detach<'a>(0x16, "amqp:detach:list") {
        /// The link.
        handle: u32 = mandatory,
        /// Whether the link ends; otherwise it could be resumed.
        closed: bool = default(false),
        /// The reason, if it is not orderly.
        error: Option<AmqpError<'a>> = optional,
    }
}

impl View for Attach<'static> {
    type Of<'a> = Attach<'a>;
}
