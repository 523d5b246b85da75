//! Errors of the hub as AMQP errors.

use ferrohub_amqp::performative::AmqpError;
use ferrohub_amqp::performative::condition::{MESSAGE_SIZE_EXCEEDED, RESOURCE_LIMIT_EXCEEDED};
use ferrohub_model::{ErrorCode, HubError};

use crate::error_details::error_details;

/// The condition of a caller without the right, or whose token is no longer valid.
pub(super) const UNAUTHORIZED: &str = "amqp:unauthorized-access";
/// The condition of a link whose place another reader has taken, or has and keeps.
pub(super) const LINK_STOLEN: &str = "amqp:link:stolen";
/// The condition of an address or a device that does not exist.
pub(super) const NOT_FOUND: &str = "amqp:not-found";

/// An error with a text that lives long enough to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorText {
    condition: &'static str,
    description: String,
}

impl ErrorText {
    /// An error of the hub. The description is the JSON of Azure, with the six-digit code.
    pub(super) fn of(error: &HubError) -> Self {
        Self { condition: condition(error.code), description: error_details(error).to_string() }
    }

    /// An error of a link for events. Clients of event hubs know other conditions.
    pub(super) fn of_reader(error: &HubError) -> Self {
        let condition = match error.code {
            ErrorCode::GenericConflict => LINK_STOLEN,
            ErrorCode::ThrottlingException => RESOURCE_LIMIT_EXCEEDED,
            code => condition(code),
        };
        Self { condition, ..Self::of(error) }
    }

    /// An error with another condition.
    pub(super) fn new(condition: &'static str, description: impl Into<String>) -> Self {
        Self { condition, description: description.into() }
    }

    /// An address that the hub does not have.
    pub(super) fn unknown_address(address: &str) -> Self {
        let text = format!("The link address '{address}' did not match any of the expected formats.");
        let description = error_details(&HubError::new(ErrorCode::GenericNotFound, text)).to_string();
        Self { condition: NOT_FOUND, description }
    }

    /// A caller without a valid token.
    pub(super) fn unauthorized(description: &str) -> Self {
        Self { condition: UNAUTHORIZED, description: description.to_owned() }
    }

    /// A limit of the connection is reached.
    pub(super) fn too_many(description: &str) -> Self {
        Self { condition: RESOURCE_LIMIT_EXCEEDED, description: description.to_owned() }
    }

    /// The condition alone, for a client with small frames.
    pub(super) fn without_text(&self) -> AmqpError<'_> {
        AmqpError::new(self.condition)
    }

    pub(super) fn get(&self) -> AmqpError<'_> {
        AmqpError::new(self.condition).with_description(&self.description)
    }
}

/// Returns the condition that clients turn into an exception. Standard ones where they exist: Java knows no others.
fn condition(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DeviceMaximumQueueDepthExceeded | ErrorCode::IotHubQuotaExceeded => {
            RESOURCE_LIMIT_EXCEEDED
        }
        ErrorCode::MessageTooLarge => MESSAGE_SIZE_EXCEEDED,
        ErrorCode::DeviceMessageLockLost => "com.microsoft:message-lock-lost",
        ErrorCode::ThrottlingException => "com.microsoft:device-container-throttled",
        ErrorCode::ServiceUnavailable => "com.microsoft:timeout",
        code => match code.http_status() {
            401 => UNAUTHORIZED,
            404 => NOT_FOUND,
            400 | 403 => "com.microsoft:argument-error",
            412 => "com.microsoft:precondition-failed",
            _ => "amqp:internal-error",
        },
    }
}

/// Returns a fixed word for the log, and what to do. `None` if the core logs the error.
pub(super) fn explain(code: ErrorCode) -> Option<(&'static str, &'static str)> {
    Some(match code {
        ErrorCode::IotHubUnauthorizedAccess => return None,
        ErrorCode::DeviceNotFound | ErrorCode::ModuleNotFound => {
            ("unknown_identity", "create the device: `ferrohub device create`")
        }
        ErrorCode::DeviceMaximumQueueDepthExceeded => {
            ("queue_full", "the device must receive its messages, or raise messages.queue_length")
        }
        ErrorCode::MessageTooLarge => ("too_large", "send a smaller message, see messages.message_bytes"),
        ErrorCode::InvalidOperation => {
            ("no_target", "set the property `to` to /devices/{id}/messages/devicebound")
        }
        ErrorCode::InvalidMessageExpiryTime => {
            ("invalid_expiry", "set an expiry in the future, see messages.max_time_to_live_seconds")
        }
        ErrorCode::DeviceMessageLockLost => ("lock_lost", "settle within the lock duration"),
        ErrorCode::GenericNotFound => {
            ("unknown_event_source", "see `error`, and EVENTHUB_CONNECTION_STRING of `ferrohub env`")
        }
        ErrorCode::GenericConflict => {
            ("owned_partition", "end the reader with the higher owner level, or use another consumer group")
        }
        ErrorCode::ThrottlingException => (
            "too_many_readers",
            "end a reader, use another consumer group, or raise events.readers_per_group",
        ),
        code => match code.http_status() {
            400..500 => ("invalid_message", "see `error`"),
            _ => ("unavailable", "see the errors of the store in this log; the client may send again"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_the_condition_that_they_map() {
        for (code, expected) in [
            (ErrorCode::DeviceNotFound, "amqp:not-found"),
            (ErrorCode::ModuleNotFound, "amqp:not-found"),
            (ErrorCode::DeviceMaximumQueueDepthExceeded, "amqp:resource-limit-exceeded"),
            (ErrorCode::IotHubUnauthorizedAccess, "amqp:unauthorized-access"),
            (ErrorCode::InvalidMessageExpiryTime, "com.microsoft:argument-error"),
            (ErrorCode::InvalidOperation, "com.microsoft:argument-error"),
            (ErrorCode::MessageTooLarge, "amqp:link:message-size-exceeded"),
            (ErrorCode::ServerError, "amqp:internal-error"),
            (ErrorCode::DeviceMessageLockLost, "com.microsoft:message-lock-lost"),
        ] {
            assert_eq!(condition(code), expected, "{code}");
        }
        let guide = include_str!("../../../../../docs/how-to/troubleshoot-clients.md");
        for (reason, _) in ErrorCode::ALL.iter().filter_map(|code| explain(*code)) {
            assert!(guide.contains(&format!("`{reason}`")), "the guide lacks {reason}");
        }
        let error = ErrorText::of(&HubError::new(ErrorCode::DeviceNotFound, "no device"));
        assert!(error.get().description.unwrap().contains("404001"));
    }
}
