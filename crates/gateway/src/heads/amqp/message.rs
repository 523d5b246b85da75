//! Reads a message to a device out of an AMQP message.

use std::borrow::Cow;

use bytes::Bytes;
use ferrohub_amqp::Value;
use ferrohub_amqp::message::{Body, Message, STANDARD_FORMAT};
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{ErrorCode, HubError, Timestamp};

/// The application property that is a system property: clients send it by this name.
const ACK: &str = "iothub-ack";

/// Reads the properties and the body.
///
/// # Errors
///
/// `ArgumentInvalid` for what cannot be a message to a device.
pub(super) fn read(message_format: u32, payload: &Bytes) -> Result<(MessageProperties, Bytes), HubError> {
    if message_format != STANDARD_FORMAT {
        return Err(invalid("The message format must be 0: a batch cannot be sent to a device."));
    }
    let malformed = |error| invalid(format!("The message is malformed: {error}."));
    let message = Message::parse(payload).map_err(malformed)?;
    let properties = read_properties(&message)?;
    let body = match message.body().map_err(malformed)? {
        Body::Absent => Cow::Borrowed(&b""[..]),
        Body::Data(data) => data.concat(),
        Body::Value(Value::String(text)) => Cow::Borrowed(text.as_bytes()),
        Body::Value(Value::Binary(bytes)) => Cow::Borrowed(bytes),
        Body::Value(_) | Body::Sequences(_) => {
            return Err(invalid("The body of the message must be data."));
        }
    };
    let body = match body {
        Cow::Borrowed(bytes) => payload.slice_ref(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    Ok((properties, body))
}

fn read_properties(message: &Message<'_>) -> Result<MessageProperties, HubError> {
    let malformed = |error| invalid(format!("The properties of the message are malformed: {error}."));
    let sent = message.properties().map_err(malformed)?;
    let time = |millis| Value::Timestamp(millis);
    let system = [
        (SystemProperty::MessageId, sent.message_id),
        (SystemProperty::CorrelationId, sent.correlation()),
        (SystemProperty::UserId, sent.user_id.map(Value::Binary)),
        (SystemProperty::To, sent.to.map(Value::String)),
        (SystemProperty::ContentType, sent.content_type.map(Value::Symbol)),
        (SystemProperty::ContentEncoding, sent.content_encoding.map(Value::Symbol)),
        (SystemProperty::Expiry, sent.expires_at().map(time)),
        (SystemProperty::CreationTime, sent.creation_time.map(|created| time(created.0))),
    ];
    let mut properties = MessageProperties::default();
    for (property, value) in system {
        let Some(value) = value.filter(|value| *value != Value::Null) else { continue };
        properties.system.insert(property, text(property.event_name(), value)?);
    }
    for (name, value) in message.application_properties().map_err(malformed)? {
        let name =
            name.as_str().ok_or_else(|| invalid("The name of an application property is not text."))?;
        let value = text(name, value)?;
        match name {
            "" => return Err(invalid("The name of an application property is empty.")),
            ACK => properties.system.insert(SystemProperty::Ack, value),
            name => properties.application.insert(name.to_owned(), value),
        };
    }
    Ok(properties)
}

/// Returns a value as text: a device gets the properties in an MQTT topic or in headers, which have no types.
fn text(name: &str, value: Value<'_>) -> Result<String, HubError> {
    Ok(match value {
        Value::Null => String::new(),
        Value::Boolean(value) => value.to_string(),
        Value::Ulong(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Char(character) => character.to_string(),
        Value::Timestamp(millis) => Timestamp::from_unix_millis(millis).to_string(),
        Value::Uuid(bytes) => uuid(bytes),
        Value::Binary(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(invalid(format!("The property {name} is not UTF-8."))),
        },
        value => match (value.as_str(), value.as_i64()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(number)) => number.to_string(),
            (None, None) => {
                return Err(invalid(format!("The property {name} has a type that is not supported.")));
            }
        },
    })
}

/// Formats a UUID with its hyphens.
fn uuid(bytes: [u8; 16]) -> String {
    let mut digits = format!("{:032x}", u128::from_be_bytes(bytes));
    for at in [20, 16, 12, 8] {
        digits.insert(at, '-');
    }
    digits
}

fn invalid(message: impl Into<Cow<'static, str>>) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use ferrohub_amqp::message::{MessageEncoder, Properties};
    use ferrohub_amqp::{Encoder, Symbol, Timestamp as AmqpTimestamp};
    use proptest::prelude::*;

    use super::*;

    fn properties_of(
        properties: &Properties<'_>,
        application: impl FnOnce(&mut Encoder<'_>),
    ) -> Result<MessageProperties, HubError> {
        let mut bytes = BytesMut::new();
        MessageEncoder::new(&mut bytes).properties(properties).application_properties(application);
        read_properties(&Message::parse(&bytes).unwrap())
    }

    #[test]
    fn system_properties_become_text() {
        let sent = Properties {
            message_id: Some(Value::Ulong(7)),
            correlation_id: Some(Value::Uuid(*b"0123456789abcdef")),
            user_id: Some(b"me"),
            to: Some("/devices/d/messages/devicebound"),
            content_type: Some(Symbol("application/json")),
            content_encoding: Some(Symbol("utf-8")),
            absolute_expiry_time: Some(AmqpTimestamp(1_800_000_000_000)),
            creation_time: Some(AmqpTimestamp(1_700_000_000_001)),
            ..Properties::default()
        };
        let read = properties_of(&sent, |_| {}).unwrap();
        let text: Vec<_> =
            read.system.iter().map(|(name, value)| (name.event_name(), value.as_str())).collect();
        assert_eq!(
            text,
            [
                ("message-id", "7"),
                ("correlation-id", "30313233-3435-3637-3839-616263646566"),
                ("user-id", "me"),
                ("to", "/devices/d/messages/devicebound"),
                ("absolute-expiry-time", "2027-01-15T08:00:00Z"),
                ("content-type", "application/json"),
                ("content-encoding", "utf-8"),
                ("iothub-creation-time-utc", "2023-11-14T22:13:20.001Z"),
            ]
        );
    }

    #[test]
    fn a_body_is_data_or_one_text() {
        let body_of = |write: &dyn Fn(&mut MessageEncoder<'_>)| {
            let mut bytes = BytesMut::new();
            write(&mut MessageEncoder::new(&mut bytes));
            read(STANDARD_FORMAT, &bytes.freeze()).map(|(_, body)| body)
        };
        assert_eq!(body_of(&|_| {}).unwrap(), "");
        assert_eq!(
            body_of(&|message| {
                message.data(b"ab");
            })
            .unwrap(),
            "ab"
        );
        assert_eq!(
            body_of(&|message| {
                message.data(b"a").data(b"b");
            })
            .unwrap(),
            "ab"
        );
        assert_eq!(
            body_of(&|message| {
                message.value(|value| value.string("é"));
            })
            .unwrap(),
            "é"
        );
        assert_eq!(
            body_of(&|message| {
                message.value(|value| value.binary(b"x"));
            })
            .unwrap(),
            "x"
        );
        let number = body_of(&|message| {
            message.value(|value| value.int(1));
        });
        assert_eq!(number.unwrap_err().code, ErrorCode::ArgumentInvalid);
        let batch = read(STANDARD_FORMAT + 1, &Bytes::new());
        assert_eq!(batch.unwrap_err().code, ErrorCode::ArgumentInvalid);
    }

    proptest! {
        #[test]
        fn properties_and_body_survive(
            names in prop::collection::btree_map("[a-z$é]{1,8}", ".{0,20}", 0..5),
            body in prop::collection::vec(any::<u8>(), 0..100),
            to in ".{0,30}",
        ) {
            let mut bytes = BytesMut::new();
            MessageEncoder::new(&mut bytes)
                .properties(&Properties { to: Some(&to), ..Properties::default() })
                .application_properties(|map| {
                    for (name, value) in &names {
                        map.string(name);
                        map.string(value);
                    }
                })
                .data(&body);
            let (properties, read_body) = read(STANDARD_FORMAT, &bytes.freeze()).unwrap();
            prop_assert_eq!(properties.get(SystemProperty::To), Some(to.as_str()));
            prop_assert_eq!(properties.application.into_iter().collect::<Vec<_>>(), names.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(&read_body[..], &body[..]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let _ = read(STANDARD_FORMAT, &payload.into());
            // A valid message with one wrong byte gets further.
            let mut bytes = BytesMut::new();
            MessageEncoder::new(&mut bytes)
                .properties(&Properties { to: Some("/devices/d"), ..Properties::default() })
                .application_properties(|map| {
                    map.string("name");
                    map.timestamp(5);
                })
                .data(b"body");
            let index = at.index(bytes.len());
            bytes[index] = byte;
            let _ = read(STANDARD_FORMAT, &bytes.freeze());
        }
    }

    #[test]
    fn what_go_writes_for_nothing_is_absent() {
        let sent = Properties {
            correlation_id: Some(Value::String("")),
            absolute_expiry_time: Some(AmqpTimestamp(-6_795_364_578_871)),
            ..Properties::default()
        };
        assert_eq!(properties_of(&sent, |_| {}), Ok(MessageProperties::default()));
    }

    #[test]
    fn application_properties_of_every_simple_type_become_text() {
        let read = properties_of(&Properties::default(), |map| {
            let values: [(&str, Value<'_>); 8] = [
                ("iothub-ack", Value::String("full")),
                ("text", Value::String("é")),
                ("number", Value::Int(-5)),
                ("fraction", Value::Double(1.5)),
                ("flag", Value::Boolean(true)),
                ("time", Value::Timestamp(0)),
                ("bytes", Value::Binary(b"b")),
                ("null", Value::Null),
            ];
            for (name, value) in values {
                map.string(name);
                map.value(&value);
            }
        })
        .unwrap();
        assert_eq!(read.get(SystemProperty::Ack), Some("full"));
        let expected = [
            ("bytes", "b"),
            ("flag", "true"),
            ("fraction", "1.5"),
            ("null", ""),
            ("number", "-5"),
            ("text", "é"),
            ("time", "1970-01-01T00:00:00Z"),
        ];
        assert_eq!(
            read.application,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        );
    }

    #[test]
    fn properties_that_have_no_text_are_refused() {
        for (name, value) in
            [("", Value::Null), ("a", Value::Binary(b"\xff")), ("a", Value::List(Default::default()))]
        {
            let read = properties_of(&Properties::default(), |map| {
                map.string(name);
                map.value(&value);
            });
            assert_eq!(read.unwrap_err().code, ErrorCode::ArgumentInvalid, "{value:?}");
        }
        let sent = Properties { user_id: Some(b"\xff"), ..Properties::default() };
        assert!(properties_of(&sent, |_| {}).is_err());
    }
}
