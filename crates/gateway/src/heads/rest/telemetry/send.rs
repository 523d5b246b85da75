//! `/devices/{id}/messages/events`: telemetry of devices and modules over HTTPS, as single messages or batches.

use std::collections::BTreeMap;
use std::fmt;

use axum::http::{HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferrohub_core::DeviceCaller;
use ferrohub_core::faults::Delivery;
use ferrohub_core::telemetry::DeviceMessage;
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{ErrorCode, HubError};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::heads::rest::RestResult;
use crate::heads::rest::message_headers::{APPLICATION_PREFIX, read_properties};
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::no_content;

/// Media type of a batch.
pub(in crate::heads::rest) const BATCH_CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.json";
/// Maximum number of messages in a batch, as in Azure.
const MAX_BATCH_MESSAGES: usize = 500;

pub(in crate::heads::rest) async fn send(caller: DeviceCaller, mut request: RestRequest) -> RestResult {
    let properties = read_properties(request.headers())?;
    let body = request.read_body().await?;
    let messages = if is_batch(request.headers().get(header::CONTENT_TYPE)) {
        parse_batch(&body, request.context.hub.max_event_bytes())?
    } else {
        vec![DeviceMessage { properties: (&properties).into(), body }]
    };
    match caller.send_events(messages).await? {
        Delivery::Delivered | Delivery::Lost { acknowledge: true } => Ok(no_content()),
        Delivery::Lost { acknowledge: false } => {
            Err(HubError::new(ErrorCode::ServiceUnavailable, "An injected fault lost the message."))
        }
    }
}

fn is_batch(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(BATCH_CONTENT_TYPE))
}

/// One message of a batch.
#[derive(Deserialize)]
struct BatchMessage {
    body: String,
    /// Clients that send text set this to false; clients that send base64 usually omit it.
    #[serde(rename = "base64Encoded", default = "default_true")]
    base64_encoded: bool,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

/// The messages of a batch. Those beyond the maximum are counted and not kept.
struct Batch {
    messages: Vec<BatchMessage>,
    surplus: usize,
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Messages;
        impl<'de> Visitor<'de> for Messages {
            type Value = Batch;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Batch, A::Error> {
                let mut batch = Batch { messages: Vec::new(), surplus: 0 };
                while batch.messages.len() < MAX_BATCH_MESSAGES {
                    let Some(message) = list.next_element()? else { return Ok(batch) };
                    batch.messages.push(message);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    batch.surplus += 1;
                }
                Ok(batch)
            }
        }
        deserializer.deserialize_seq(Messages)
    }
}

fn default_true() -> bool {
    true
}

/// Parses a batch. The messages together must not be larger than `limit` bytes, the limit of a single message.
fn parse_batch(body: &[u8], limit: usize) -> Result<Vec<DeviceMessage>, HubError> {
    let Batch { messages: items, surplus } = serde_json::from_slice(body).map_err(|error| {
        HubError::new(ErrorCode::IotHubFormatError, format!("The batch is not valid: {error}."))
    })?;
    if surplus > 0 {
        let count = MAX_BATCH_MESSAGES + surplus;
        let text = format!("The batch has {count} messages; the maximum is {MAX_BATCH_MESSAGES}.");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    if items.is_empty() {
        return Err(HubError::new(ErrorCode::ArgumentInvalid, "The batch is empty."));
    }
    let messages = items.into_iter().map(parse_message).collect::<Result<Vec<_>, _>>()?;
    if messages.iter().map(DeviceMessage::size).sum::<usize>() > limit {
        let text = format!("The batch is larger than {limit} bytes.");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    Ok(messages)
}

fn parse_message(item: BatchMessage) -> Result<DeviceMessage, HubError> {
    let body = if item.base64_encoded {
        STANDARD.decode(item.body).map_err(|_| {
            let text = "A body in the batch is not base64; for text set \"base64Encoded\": false.";
            HubError::new(ErrorCode::IotHubFormatError, text)
        })?
    } else {
        item.body.into_bytes()
    };
    let mut properties = MessageProperties::default();
    for (name, value) in item.properties {
        // Names are those of the headers of a single message, or plain names of application properties.
        match SystemProperty::from_http_header(&name.to_ascii_lowercase()) {
            Some(property) => properties.system.insert(property, value),
            None => {
                let plain_name = name.strip_prefix(APPLICATION_PREFIX).unwrap_or(&name);
                if plain_name.is_empty() {
                    return Err(HubError::new(ErrorCode::ArgumentInvalid, "A property has no name."));
                }
                properties.application.insert(plain_name.to_owned(), value)
            }
        };
    }
    Ok(DeviceMessage { properties: (&properties).into(), body: Bytes::from(body) })
}

#[cfg(test)]
mod tests {
    use ferrohub_core::telemetry::PropertyValue;

    use super::*;

    #[test]
    fn bodies_in_a_batch_are_base64_unless_base64_encoded_is_false() {
        let body = br#"[{"body":"YQ==","properties":{"iothub-app-A":"1","b":"2","iothub-messageid":"m"}},
            {"body":"\u00e9","base64Encoded":false}]"#;
        let messages = parse_batch(body, 100).unwrap();
        let [first, second] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!(&first.body[..], b"a");
        let message_id = first.properties.get(SystemProperty::MessageId);
        assert_eq!(message_id, Some(PropertyValue::String("m")));
        let application: Vec<_> = first.properties.application().collect();
        assert_eq!(application, [("A", PropertyValue::String("1")), ("b", PropertyValue::String("2"))]);
        assert_eq!(&second.body[..], "é".as_bytes());
    }

    #[test]
    fn an_invalid_or_too_large_batch_is_refused() {
        let code = |body: &str, limit| parse_batch(body.as_bytes(), limit).unwrap_err().code;
        for body in ["", "{}", "[1]", r#"[{"body":"!"}]"#, r#"[{"body":1}]"#] {
            assert_eq!(code(body, 100), ErrorCode::IotHubFormatError, "{body}");
        }
        assert_eq!(code("[]", 100), ErrorCode::ArgumentInvalid);
        assert_eq!(code(r#"[{"body":"","properties":{"":"x"}}]"#, 100), ErrorCode::ArgumentInvalid);
        let two = r#"[{"body":"YWJj"},{"body":"YWJj"}]"#;
        assert!(parse_batch(two.as_bytes(), 6).is_ok());
        assert_eq!(code(two, 5), ErrorCode::MessageTooLarge);
    }

    #[test]
    fn a_batch_has_at_most_500_messages() {
        let batch = |count: usize| format!("[{}]", vec![r#"{"body":""}"#; count].join(","));
        assert_eq!(parse_batch(batch(500).as_bytes(), 100).unwrap().len(), 500);
        let error = parse_batch(batch(502).as_bytes(), 100).unwrap_err();
        assert_eq!(error.code, ErrorCode::MessageTooLarge);
        assert_eq!(error.message, "The batch has 502 messages; the maximum is 500.");
    }

    #[test]
    fn a_batch_is_recognised_by_its_media_type() {
        let is = |text| is_batch(Some(&HeaderValue::from_static(text)));
        assert!(is("application/vnd.microsoft.iothub.json"));
        assert!(is("Application/vnd.microsoft.iothub.json; charset=utf-8"));
        assert!(!is("application/json"));
        assert!(!is_batch(None));
    }
}
