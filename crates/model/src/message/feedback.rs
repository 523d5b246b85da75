//! Feedback on messages to devices, for their senders.

use serde::{Deserialize, Serialize};

use super::MessageProperties;
use super::SystemProperty;
use crate::Timestamp;
use crate::names::serde_by_name;

/// Media type of a batch of feedback.
pub const FEEDBACK_CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";

/// The feedback that the sender of a message requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ack {
    /// No feedback.
    #[default]
    None,
    /// Feedback when the device completes the message.
    Positive,
    /// Feedback when the message expires, is rejected or purged, or reaches the maximum delivery count.
    Negative,
    /// Feedback in either case.
    Full,
}

impl Ack {
    /// Parses the value of `iothub-ack`, ignoring case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::None, Self::Positive, Self::Negative, Self::Full];
        all.into_iter().find(|ack| ack.name().eq_ignore_ascii_case(name))
    }

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// Returns the feedback that a message requests; none if it does not have the property. `Err` contains an unknown
    /// value.
    pub fn of(properties: &MessageProperties) -> Result<Self, &str> {
        properties
            .get(SystemProperty::Ack)
            .map_or(Ok(Self::default()), |name| Self::from_name(name).ok_or(name))
    }

    /// Returns whether feedback is requested for this status.
    #[must_use]
    pub fn wants(self, status: FeedbackStatus) -> bool {
        match status {
            FeedbackStatus::Success => matches!(self, Self::Positive | Self::Full),
            _ => matches!(self, Self::Negative | Self::Full),
        }
    }
}

/// How a message to a device ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedbackStatus {
    /// The device completed it.
    Success,
    /// It expired.
    Expired,
    /// It was delivered as often as the hub allows, without being completed.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// It was purged with the rest of the queue.
    Purged,
}

impl FeedbackStatus {
    /// All statuses.
    pub const ALL: [Self; 5] =
        [Self::Success, Self::Expired, Self::DeliveryCountExceeded, Self::Rejected, Self::Purged];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
        }
    }
}

serde_by_name!(FeedbackStatus, &Self::ALL);

/// Feedback on one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FeedbackRecord {
    /// The id that the sender gave the message, or empty.
    #[serde(default)]
    pub original_message_id: String,
    /// When the message ended.
    pub enqueued_time_utc: Timestamp,
    /// How the message ended.
    pub status_code: FeedbackStatus,
    /// The status as text for people.
    #[serde(default)]
    pub description: String,
    /// The device that it was sent to.
    pub device_id: String,
    /// The generation of the device, which distinguishes it from earlier devices with the same id.
    #[serde(default)]
    pub device_generation_id: String,
    /// The module that it was sent to, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
}

impl FeedbackRecord {
    /// Creates the feedback on a message to a device or module.
    #[must_use]
    pub fn new(
        identity: &crate::IdentityId,
        generation_id: String,
        message_id: String,
        status: FeedbackStatus,
        when: Timestamp,
    ) -> Self {
        Self {
            original_message_id: message_id,
            enqueued_time_utc: when,
            status_code: status,
            description: status.name().to_owned(),
            device_id: identity.device_str().to_owned(),
            device_generation_id: generation_id,
            module_id: identity.module_str().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdentityId;

    #[test]
    fn each_word_asks_for_its_ends() {
        let wants = |name: &str| {
            let ack = Ack::from_name(name).unwrap();
            (ack.wants(FeedbackStatus::Success), ack.wants(FeedbackStatus::Purged))
        };
        assert_eq!(wants("none"), (false, false));
        assert_eq!(wants("positive"), (true, false));
        assert_eq!(wants("Negative"), (false, true));
        assert_eq!(wants("FULL"), (true, true));
        assert_eq!(Ack::from_name("all"), None);
        assert_eq!(Ack::of(&MessageProperties::default()), Ok(Ack::default()));
    }

    #[test]
    fn a_record_reads_as_azure_writes_it() {
        let id = IdentityId::parse("d").unwrap();
        let when = Timestamp::from_unix_seconds(1_700_000_000);
        let record = FeedbackRecord::new(&id, "7".to_owned(), "m1".to_owned(), FeedbackStatus::Success, when);
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "originalMessageId": "m1", "enqueuedTimeUtc": "2023-11-14T22:13:20Z", "statusCode": "Success",
                "description": "Success", "deviceId": "d", "deviceGenerationId": "7"
            })
        );
        assert_eq!(serde_json::from_value::<FeedbackRecord>(json).unwrap(), record);
    }
}
