//! Source and target of a link (AMQP §3.5.3, 3.5.4).
//!
//! Every field is optional here, also where the specification has a default: an answer repeats what the client wrote.

use crate::codec::{Described, Map, Symbol, Symbols, composite};

composite! {
    /// Where the messages of a link come from (AMQP §3.5.3).
    Source<'a>(0x28, "amqp:source:list") {
        /// Address of the node.
        address: Option<&'a str> = optional,
        /// What is durable: 0 nothing, 1 the configuration, 2 also the state of deliveries.
        durable: Option<u32> = optional,
        /// When `timeout` starts.
        expiry_policy: Option<Symbol<'a>> = optional,
        /// Seconds until the terminus expires.
        timeout: Option<u32> = optional,
        /// Whether the node is created for this link.
        dynamic: Option<bool> = optional,
        /// Properties of a dynamic node.
        dynamic_node_properties: Option<Map<'a>> = optional,
        /// Whether messages are moved or copied.
        distribution_mode: Option<Symbol<'a>> = optional,
        /// Filters by name; the values are described.
        filter: Option<Map<'a>> = optional,
        /// Outcome of deliveries that are settled without one.
        default_outcome: Option<Described<'a>> = optional,
        /// Outcomes that the source supports.
        outcomes: Option<Symbols<'a>> = optional,
        /// Extensions of the source.
        capabilities: Option<Symbols<'a>> = optional,
    }

    /// Where the messages of a link go to (AMQP §3.5.4).
    Target<'a>(0x29, "amqp:target:list") {
        /// Address of the node.
        address: Option<&'a str> = optional,
        /// What is durable: 0 nothing, 1 the configuration, 2 also the state of deliveries.
        durable: Option<u32> = optional,
        /// When `timeout` starts.
        expiry_policy: Option<Symbol<'a>> = optional,
        /// Seconds until the terminus expires.
        timeout: Option<u32> = optional,
        /// Whether the node is created for this link.
        dynamic: Option<bool> = optional,
        /// Properties of a dynamic node.
        dynamic_node_properties: Option<Map<'a>> = optional,
        /// Extensions of the target.
        capabilities: Option<Symbols<'a>> = optional,
    }
}
