//! Encodes an event as readers of event hubs expect it.
//!
//! Properties that AMQP defines stand in the properties section, what the sender chose in the application properties, and
//! the rest in the message annotations. Clients look for annotations of exactly these names and types.

use bytes::BytesMut;
use ferrohub_amqp::message::{MessageEncoder, Properties};
use ferrohub_amqp::{Encoder, Symbol, Timestamp as AmqpTimestamp, Value};
use ferrohub_core::telemetry::{EventProperties, PropertyName, PropertyValue, StoredEvent};
use ferrohub_model::Timestamp;
use ferrohub_model::message::SystemProperty;

/// The last event of a partition, which readers may ask for with each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastEnqueued {
    pub(super) sequence: u64,
    pub(super) enqueued: Timestamp,
    /// When the hub looked.
    pub(super) now: Timestamp,
}

/// Appends the message of an event to `out`.
pub(super) fn encode(event: &StoredEvent, last: Option<&LastEnqueued>, out: &mut BytesMut) {
    let mut message = MessageEncoder::new(out);
    if let Some(last) = last {
        message.delivery_annotations(|map| {
            map.symbol("last_enqueued_sequence_number");
            map.long(signed(last.sequence));
            map.symbol("last_enqueued_offset");
            map.string(&last.sequence.to_string());
            map.symbol("last_enqueued_time_utc");
            map.timestamp(last.enqueued.unix_millis());
            map.symbol("runtime_info_retrieval_time_utc");
            map.timestamp(last.now.unix_millis());
        });
    }
    message.message_annotations(|map| annotations(event, map));
    let sent = SentProperties::of(&event.properties);
    if let Some(properties) = sent.section() {
        message.properties(&properties);
    }
    if event.properties.iter().any(|(name, _)| application_name(name).is_some()) {
        message.application_properties(|map| {
            for (name, value) in event.properties.iter() {
                if let Some(name) = application_name(name) {
                    map.string(name);
                    map.value(&amqp(value));
                }
            }
        });
    }
    message.data(&event.body);
}

fn annotations(event: &StoredEvent, map: &mut Encoder<'_>) {
    map.symbol("x-opt-sequence-number");
    map.long(signed(event.sequence));
    map.symbol("x-opt-offset");
    map.string(&event.offset());
    map.symbol("x-opt-enqueued-time");
    map.timestamp(event.enqueued.unix_millis());
    for (name, value) in event.hub_properties() {
        map.symbol(name);
        map.value(&amqp(value));
    }
    for (property, value) in event.properties.system() {
        if place(property) == Place::Annotations || !fits_section(property, value) {
            map.symbol(property.event_name());
            map.value(&amqp(value));
        }
    }
}

/// The section of a message in which a system property stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Properties,
    Annotations,
    /// Azure has these among the properties of the sender.
    Application,
}

fn place(property: SystemProperty) -> Place {
    match property {
        SystemProperty::MessageId
        | SystemProperty::CorrelationId
        | SystemProperty::UserId
        | SystemProperty::To
        | SystemProperty::Expiry
        | SystemProperty::ContentType
        | SystemProperty::ContentEncoding => Place::Properties,
        SystemProperty::CreationTime | SystemProperty::Schema | SystemProperty::Ack => Place::Application,
        _ => Place::Annotations,
    }
}

/// Returns the name of a property among the application properties, if it stands there.
fn application_name(name: PropertyName<'_>) -> Option<&str> {
    match name {
        PropertyName::Application(name) => Some(name),
        PropertyName::System(property) => {
            (place(property) == Place::Application).then(|| property.event_name())
        }
    }
}

/// Returns whether the type of a value is that of its field in the properties section, or text that can be converted.
fn fits_section(property: SystemProperty, value: PropertyValue<'_>) -> bool {
    match property {
        SystemProperty::MessageId | SystemProperty::CorrelationId => matches!(
            value,
            PropertyValue::String(_)
                | PropertyValue::Ulong(_)
                | PropertyValue::Uuid(_)
                | PropertyValue::Binary(_)
        ),
        SystemProperty::UserId => matches!(value, PropertyValue::Binary(_) | PropertyValue::String(_)),
        SystemProperty::Expiry => time(value).is_some(),
        SystemProperty::To | SystemProperty::ContentType | SystemProperty::ContentEncoding => {
            value.as_str().is_some()
        }
        _ => true,
    }
}

/// The properties that AMQP defines.
#[derive(Default)]
struct SentProperties<'a>(Properties<'a>);

impl<'a> SentProperties<'a> {
    fn of(properties: &'a EventProperties) -> Self {
        let mut section = Properties::default();
        for (property, value) in
            properties.system().filter(|(property, value)| fits_section(*property, *value))
        {
            match property {
                SystemProperty::MessageId => section.message_id = Some(amqp(value)),
                SystemProperty::CorrelationId => section.correlation_id = Some(amqp(value)),
                SystemProperty::UserId => section.user_id = bytes(value),
                SystemProperty::To => section.to = value.as_str(),
                SystemProperty::Expiry => section.absolute_expiry_time = time(value),
                SystemProperty::ContentType => section.content_type = value.as_str().map(Symbol),
                SystemProperty::ContentEncoding => section.content_encoding = value.as_str().map(Symbol),
                _ => {}
            }
        }
        Self(section)
    }

    /// Returns the section; `None` if it would be empty.
    fn section(self) -> Option<Properties<'a>> {
        (self.0 != Properties::default()).then_some(self.0)
    }
}

fn bytes(value: PropertyValue<'_>) -> Option<&[u8]> {
    match value {
        PropertyValue::Binary(bytes) => Some(bytes),
        value => value.as_str().map(str::as_bytes),
    }
}

fn time(value: PropertyValue<'_>) -> Option<AmqpTimestamp> {
    match value {
        PropertyValue::Timestamp(time) => Some(time),
        value => value.as_str().and_then(Timestamp::parse),
    }
    .map(|time| AmqpTimestamp(time.unix_millis()))
}

/// Sequence numbers are longs.
pub(super) fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

/// Returns a value with its type.
fn amqp(value: PropertyValue<'_>) -> Value<'_> {
    match value {
        PropertyValue::Null => Value::Null,
        PropertyValue::Boolean(value) => Value::Boolean(value),
        PropertyValue::Ubyte(number) => Value::Ubyte(number),
        PropertyValue::Ushort(number) => Value::Ushort(number),
        PropertyValue::Uint(number) => Value::Uint(number),
        PropertyValue::Ulong(number) => Value::Ulong(number),
        PropertyValue::Byte(number) => Value::Byte(number),
        PropertyValue::Short(number) => Value::Short(number),
        PropertyValue::Int(number) => Value::Int(number),
        PropertyValue::Long(number) => Value::Long(number),
        PropertyValue::Float(number) => Value::Float(number),
        PropertyValue::Double(number) => Value::Double(number),
        PropertyValue::Decimal32(bytes) => Value::Decimal32(bytes),
        PropertyValue::Decimal64(bytes) => Value::Decimal64(bytes),
        PropertyValue::Decimal128(bytes) => Value::Decimal128(bytes),
        PropertyValue::Char(character) => Value::Char(character),
        PropertyValue::Timestamp(time) => Value::Timestamp(time.unix_millis()),
        PropertyValue::Uuid(id) => Value::Uuid(id.0.to_be_bytes()),
        PropertyValue::Binary(bytes) => Value::Binary(bytes),
        PropertyValue::String(text) => Value::String(text),
        PropertyValue::Symbol(text) => Value::Symbol(Symbol(text)),
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_amqp::message::Message;
    use ferrohub_core::telemetry::{AuthMethod, EventIdentity, EventSource};
    use ferrohub_model::{DeviceId, IdentityId, ModuleId};

    use super::*;

    fn event(properties: &[(PropertyName<'_>, PropertyValue<'_>)]) -> StoredEvent {
        let mut list = EventProperties::new();
        for (name, value) in properties {
            list.push(*name, *value);
        }
        let device = DeviceId::new("dev1").unwrap();
        StoredEvent {
            partition: 0,
            sequence: 7,
            enqueued: Timestamp::from_unix_millis(1_700_000_000_123),
            source: EventSource::Telemetry,
            identity: EventIdentity {
                id: IdentityId::module(&device, &ModuleId::new("m").unwrap()),
                generation_id: "g1".to_owned(),
                auth: Some(AuthMethod::DeviceKey),
            },
            properties: list,
            body: (&b"body"[..]).into(),
        }
    }

    fn encoded(event: &StoredEvent, last: Option<&LastEnqueued>) -> BytesMut {
        let mut bytes = BytesMut::new();
        encode(event, last, &mut bytes);
        bytes
    }

    #[test]
    fn an_event_has_the_annotations_that_readers_look_for() {
        let bytes = encoded(&event(&[]), None);
        let message = Message::parse(&bytes).unwrap();
        let annotations = message.message_annotations().unwrap();
        let auth = AuthMethod::DeviceKey.to_json(true);
        let expected = [
            ("x-opt-sequence-number", Value::Long(7)),
            ("x-opt-offset", Value::String("7")),
            ("x-opt-enqueued-time", Value::Timestamp(1_700_000_000_123)),
            ("iothub-connection-device-id", Value::String("dev1")),
            ("iothub-connection-module-id", Value::String("m")),
            ("iothub-connection-auth-method", Value::String(auth)),
            ("iothub-connection-auth-generation-id", Value::String("g1")),
            ("iothub-enqueuedtime", Value::Timestamp(1_700_000_000_123)),
            ("iothub-message-source", Value::String("Telemetry")),
        ];
        let found: Vec<_> = annotations.iter().collect();
        let expected: Vec<_> = expected.map(|(name, value)| (Value::Symbol(Symbol(name)), value)).into();
        assert_eq!(found, expected);
        assert_eq!(&message.data().concat()[..], b"body");
        assert_eq!(message.properties().unwrap(), Properties::default());
        assert!(message.application_properties().unwrap().is_empty());
        assert!(message.delivery_annotations().unwrap().is_empty());
    }

    #[test]
    fn properties_keep_their_types_and_stand_in_their_sections() {
        use PropertyName::{Application, System};
        let event = event(&[
            (System(SystemProperty::MessageId), PropertyValue::Ulong(5)),
            (System(SystemProperty::CorrelationId), PropertyValue::String("c")),
            (System(SystemProperty::UserId), PropertyValue::String("u")),
            (System(SystemProperty::ContentType), PropertyValue::String("application/json")),
            (System(SystemProperty::ContentEncoding), PropertyValue::Symbol("utf-8")),
            (System(SystemProperty::Expiry), PropertyValue::String("2027-01-15T08:00:00Z")),
            (System(SystemProperty::CreationTime), PropertyValue::String("2026-01-01T00:00:00Z")),
            (System(SystemProperty::Component), PropertyValue::String("thermostat1")),
            (Application("level"), PropertyValue::Int(-3)),
            (Application("é"), PropertyValue::Boolean(true)),
        ]);
        let bytes = encoded(&event, None);
        let message = Message::parse(&bytes).unwrap();
        let expected = Properties {
            message_id: Some(Value::Ulong(5)),
            user_id: Some(b"u"),
            correlation_id: Some(Value::String("c")),
            content_type: Some(Symbol("application/json")),
            content_encoding: Some(Symbol("utf-8")),
            absolute_expiry_time: Some(AmqpTimestamp(1_800_000_000_000)),
            ..Properties::default()
        };
        assert_eq!(message.properties().unwrap(), expected);
        let application: Vec<_> = message.application_properties().unwrap().iter().collect();
        assert_eq!(
            application,
            [
                (Value::String("iothub-creation-time-utc"), Value::String("2026-01-01T00:00:00Z")),
                (Value::String("level"), Value::Int(-3)),
                (Value::String("é"), Value::Boolean(true)),
            ]
        );
        let annotations = message.message_annotations().unwrap();
        assert_eq!(annotations.get("dt-subject"), Some(Value::String("thermostat1")));
    }

    #[test]
    fn what_does_not_fit_its_field_becomes_an_annotation() {
        let event = event(&[
            (PropertyName::System(SystemProperty::MessageId), PropertyValue::Int(5)),
            (PropertyName::System(SystemProperty::Expiry), PropertyValue::String("tomorrow")),
        ]);
        let bytes = encoded(&event, None);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.properties().unwrap(), Properties::default());
        let annotations = message.message_annotations().unwrap();
        assert_eq!(annotations.get("message-id"), Some(Value::Int(5)));
        assert_eq!(annotations.get("absolute-expiry-time"), Some(Value::String("tomorrow")));
    }

    #[test]
    fn the_last_event_of_the_partition_is_a_delivery_annotation() {
        let last = LastEnqueued {
            sequence: 9,
            enqueued: Timestamp::from_unix_millis(5),
            now: Timestamp::from_unix_millis(6),
        };
        let bytes = encoded(&event(&[]), Some(&last));
        let annotations = Message::parse(&bytes).unwrap().delivery_annotations().unwrap();
        for (name, value) in [
            ("last_enqueued_sequence_number", Value::Long(9)),
            ("last_enqueued_offset", Value::String("9")),
            ("last_enqueued_time_utc", Value::Timestamp(5)),
            ("runtime_info_retrieval_time_utc", Value::Timestamp(6)),
        ] {
            assert_eq!(annotations.get(name), Some(value), "{name}");
        }
    }
}
