//! Errors that are sent (AMQP §2.8.14).

use crate::codec::{Map, Symbol, View, composite};

composite! {
    /// The reason of a detach, end, close or rejection (AMQP §2.8.14).
    AmqpError<'a>(0x1d, "amqp:error:list") {
        /// What went wrong; see [`condition`].
        condition: Symbol<'a> = mandatory,
        /// Text for people.
        description: Option<&'a str> = optional,
        /// Details for programs.
        info: Option<Map<'a>> = optional,
    }
}

impl<'a> AmqpError<'a> {
    /// An error with a condition only.
    #[must_use]
    pub fn new(condition: &'a str) -> Self {
        Self { condition: Symbol(condition), ..Self::default() }
    }

    /// Adds a text for people.
    #[must_use]
    pub fn with_description(self, description: &'a str) -> Self {
        Self { description: Some(description), ..self }
    }

    /// Adds details for programs.
    #[must_use]
    pub fn with_info(self, info: Map<'a>) -> Self {
        Self { info: Some(info), ..self }
    }
}

impl View for AmqpError<'static> {
    type Of<'a> = AmqpError<'a>;
}

/// The conditions of AMQP §2.8.15 to 2.8.18 that this crate uses.
pub mod condition {
    /// The peer sent bytes that are not a valid value.
    pub const DECODE_ERROR: &str = "amqp:decode-error";
    /// An invalid field in a performative.
    pub const INVALID_FIELD: &str = "amqp:invalid-field";
    /// Something that is not allowed.
    pub const NOT_ALLOWED: &str = "amqp:not-allowed";
    /// The peer has exceeded its share of a resource.
    pub const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
    /// More transfers than the session window allows.
    pub const WINDOW_VIOLATION: &str = "amqp:session:window-violation";
    /// A handle that is already used by another link.
    pub const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    /// A transfer for a handle without a link.
    pub const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
    /// More deliveries than the link's credit allows.
    pub const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
    /// A message that is larger than the link allows.
    pub const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
}
