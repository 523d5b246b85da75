//! Transfer and disposition (AMQP §2.7.5, 2.7.6).

use super::{DeliveryState, ReceiverSettleMode, Role};
use crate::codec::composite;

composite! {
    /// Carries a message, or a part of one (AMQP §2.7.5). The payload follows in the frame.
    Transfer<'a>(0x14, "amqp:transfer:list") {
        /// The link.
        handle: u32 = mandatory,
        /// Number of the delivery in its session and direction; optional after the first transfer of a delivery.
        delivery_id: Option<u32> = optional,
        /// Name of the delivery, unique among the unsettled deliveries of the link; at most 32 bytes.
        delivery_tag: Option<&'a [u8]> = optional,
        /// Format of the message; see [`message`](crate::message).
        message_format: Option<u32> = optional,
        /// Whether the sender has settled the delivery.
        settled: Option<bool> = optional,
        /// Whether more transfers of this delivery follow.
        more: bool = default(false),
        /// Which end settles first, if other than agreed for the link.
        rcv_settle_mode: Option<ReceiverSettleMode> = optional,
        /// State of the delivery at the sender.
        state: Option<DeliveryState<'a>> = optional,
        /// Whether an unsettled delivery of an earlier link is resumed.
        resume: Option<bool> = optional,
        /// Whether the delivery is given up and its transfers are to be discarded.
        aborted: Option<bool> = optional,
        /// Whether the receiver may delay its disposition.
        batchable: Option<bool> = optional,
    }

    /// Changes the state of deliveries (AMQP §2.7.6).
    Disposition<'a>(0x15, "amqp:disposition:list") {
        /// What the sender of this performative is on the deliveries' links.
        role: Role = mandatory,
        /// First delivery.
        first: u32 = mandatory,
        /// Last delivery; absent if it is the first.
        last: Option<u32> = optional,
        /// Whether the sender has settled the deliveries.
        settled: bool = default(false),
        /// State of the deliveries.
        state: Option<DeliveryState<'a>> = optional,
        /// Whether the peer may delay its answer.
        batchable: Option<bool> = optional,
    }
}
