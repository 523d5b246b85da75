//! What became of messages to devices, as their senders hear it.

use serde::{Deserialize, Serialize};

use super::MessageProperties;
use super::SystemProperty;
use crate::Timestamp;

/// Media type of a batch of feedback.
pub const FEEDBACK_CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";

/// Which feedback the sender of a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ack {
    /// No feedback.
    #[default]
    None,
    /// Feedback when the device completes the message.
    Positive,
    /// Feedback when the message expires, is rejected, purged or delivered too often.
    Negative,
    /// Feedback in either case.
    Full,
}

impl Ack {
    /// The word as it stands in `iothub-ack`; capitals do not matter.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::None, Self::Positive, Self::Negative, Self::Full];
        all.into_iter().find(|ack| ack.name().eq_ignore_ascii_case(name))
    }

    /// The word as it is written in `iothub-ack`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// What a message asks for: nothing, if it does not say. `Err` holds a word that is none of the four.
    pub fn of(properties: &MessageProperties) -> Result<Self, &str> {
        properties
            .get(SystemProperty::Ack)
            .map_or(Ok(Self::default()), |name| Self::from_name(name).ok_or(name))
    }

    /// Whether it asks for feedback on this end.
    #[must_use]
    pub fn wants(self, status: FeedbackStatus) -> bool {
        match status {
            FeedbackStatus::Success => matches!(self, Self::Positive | Self::Full),
            _ => matches!(self, Self::Negative | Self::Full),
        }
    }
}

/// How a message to a device ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FeedbackStatus {
    /// The device completed it.
    Success,
    /// Its time ran out.
    Expired,
    /// The device gave it back too often.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// It was thrown away with the rest of the queue.
    Purged,
}

impl FeedbackStatus {
    /// Every one of them.
    pub const ALL: [Self; 5] =
        [Self::Success, Self::Expired, Self::DeliveryCountExceeded, Self::Rejected, Self::Purged];

    /// As it is written on the wire.
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

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FeedbackRecord {
    /// The id that the sender gave the message, or empty.
    #[serde(default)]
    pub original_message_id: String,
    /// When the message came to its end.
    pub enqueued_time_utc: Timestamp,
    /// Which end.
    pub status_code: FeedbackStatus,
    /// The same, for people.
    #[serde(default)]
    pub description: String,
    /// The device that it was sent to.
    pub device_id: String,
    /// Which of the devices that had this id one after the other.
    #[serde(default)]
    pub device_generation_id: String,
    /// The module that it was sent to, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
}

impl FeedbackRecord {
    /// What became of a message to a device or module.
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
