//! An event of the event log, as a service reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One event of a hub's log. The names and system properties are those of Event Hubs, so that the same code can process
/// both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The partition of the log. All events of a device are in the same partition.
    pub partition: u16,
    /// The event's number in its partition, starting at 0.
    pub sequence_number: u64,
    /// The event's position in its partition, from which a reader can continue.
    pub offset: String,
    /// When the hub accepted the event. Never decreases within a partition.
    pub enqueued_time: Timestamp,
    /// The sender, the kind of event, and the system properties of the message.
    pub system_properties: BTreeMap<String, String>,
    /// The application properties of the message.
    pub properties: BTreeMap<String, String>,
    /// The body.
    #[serde(flatten)]
    pub body: EventBody,
}

impl Event {
    /// Returns the device that sent the event or that it is about.
    #[must_use]
    pub fn device_id(&self) -> Option<&str> {
        self.system_properties.get("iothub-connection-device-id").map(String::as_str)
    }

    /// Returns the module that sent the event or that it is about.
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.system_properties.get("iothub-connection-module-id").map(String::as_str)
    }
}

/// The body of an event: text if it is UTF-8, otherwise base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventBody {
    /// `"body"`: text.
    #[serde(rename = "body")]
    Text(String),
    /// `"bodyBase64"`: any bytes.
    #[serde(rename = "bodyBase64", with = "base64_text")]
    Bytes(Vec<u8>),
}

impl EventBody {
    /// Returns the bytes that were sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Returns the body as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes),
        }
    }
}

impl From<Vec<u8>> for EventBody {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

mod base64_text {
    use base64::Engine as _;
    use serde::Deserialize as _;

    use super::STANDARD;

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_back_byte_for_byte() {
        for bytes in [&b"{\"a\": 1}\n"[..], b"\xff\x00", b""] {
            let event = Event {
                partition: 3,
                sequence_number: 7,
                offset: "7".to_owned(),
                enqueued_time: Timestamp::from_unix_millis(1_700_000_000_123),
                system_properties: [("iothub-connection-device-id".to_owned(), "d".to_owned())].into(),
                properties: BTreeMap::new(),
                body: bytes.to_vec().into(),
            };
            let text = serde_json::to_string(&event).unwrap();
            assert!(!text.contains('\n'));
            let again: Event = serde_json::from_str(&text).unwrap();
            assert_eq!((again.body.as_bytes(), again.device_id()), (bytes, Some("d")));
            assert_eq!(again, event);
        }
    }
}
