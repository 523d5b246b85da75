//! Tests of typed properties and their stored form.

use ferrohub_model::{Guid, Timestamp};
use proptest::prelude::*;

use super::*;

/// A value that owns its text.
#[derive(Debug, Clone)]
enum Owned {
    Fixed(PropertyValue<'static>),
    Binary(Vec<u8>),
    String(String),
    Symbol(String),
}

impl Owned {
    fn get(&self) -> PropertyValue<'_> {
        match self {
            Self::Fixed(value) => *value,
            Self::Binary(bytes) => PropertyValue::Binary(bytes),
            Self::String(text) => PropertyValue::String(text),
            Self::Symbol(text) => PropertyValue::Symbol(text),
        }
    }
}

/// Every type, with values that are equal to themselves.
fn any_value() -> impl Strategy<Value = Owned> {
    use PropertyValue as V;
    let numbers = prop_oneof![
        any::<bool>().prop_map(V::Boolean),
        any::<u8>().prop_map(V::Ubyte),
        any::<u16>().prop_map(V::Ushort),
        any::<u32>().prop_map(V::Uint),
        any::<u64>().prop_map(V::Ulong),
        any::<i8>().prop_map(V::Byte),
        any::<i16>().prop_map(V::Short),
        any::<i32>().prop_map(V::Int),
        any::<i64>().prop_map(V::Long),
        any::<f32>().prop_map(V::Float),
        any::<f64>().prop_map(V::Double),
    ];
    let others = prop_oneof![
        Just(V::Null),
        any::<[u8; 4]>().prop_map(V::Decimal32),
        any::<[u8; 8]>().prop_map(V::Decimal64),
        any::<[u8; 16]>().prop_map(V::Decimal128),
        any::<char>().prop_map(V::Char),
        any::<i64>().prop_map(|millis| V::Timestamp(Timestamp::from_unix_millis(millis))),
        any::<u128>().prop_map(|bits| V::Uuid(Guid(bits))),
    ];
    prop_oneof![
        numbers.prop_map(Owned::Fixed),
        others.prop_map(Owned::Fixed),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Owned::Binary),
        ".{0,200}".prop_map(Owned::String),
        ".{0,20}".prop_map(Owned::Symbol),
    ]
}

/// A name: a system property, or the text of an application property.
fn any_name() -> impl Strategy<Value = Result<SystemProperty, String>> {
    let systems: Vec<_> = SystemProperty::all().collect();
    prop_oneof![prop::sample::select(systems).prop_map(Ok), ".{0,150}".prop_map(Err)]
}

fn name(name: &Result<SystemProperty, String>) -> PropertyName<'_> {
    name.as_ref().map_or_else(|text| PropertyName::Application(text), |system| PropertyName::System(*system))
}

proptest! {
    #[test]
    fn properties_of_every_type_survive_their_stored_form(
        list in prop::collection::vec((any_name(), any_value()), 0..8)
    ) {
        let mut properties = EventProperties::new();
        for (key, value) in &list {
            properties.push(name(key), value.get());
        }
        let again = EventProperties::from_stored(properties.as_stored().to_vec()).unwrap();
        prop_assert_eq!(again.size(), properties.size());
        let read: Vec<_> = again.iter().collect();
        let expected: Vec<_> = list.iter().map(|(key, value)| (name(key), value.get())).collect();
        // A value that is not a number is not equal to itself; its bytes are.
        prop_assert_eq!(format!("{read:?}"), format!("{expected:?}"));
        prop_assert_eq!(again, properties);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        list in prop::collection::vec((any_name(), any_value()), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = EventProperties::from_stored(noise);
        let mut properties = EventProperties::new();
        for (key, value) in &list {
            properties.push(name(key), value.get());
        }
        // What is read can be written again.
        let mut stored = properties.as_stored().to_vec();
        let index = at.index(stored.len());
        stored[index] = byte;
        stored.truncate(cut.index(stored.len()) + 1);
        if let Ok(read) = EventProperties::from_stored(stored.clone()) {
            prop_assert_eq!(read.as_stored(), &stored);
            let mut again = EventProperties::new();
            read.iter().for_each(|(key, value)| again.push(key, value));
            prop_assert_eq!(format!("{again:?}"), format!("{read:?}"));
            prop_assert_eq!(again.size(), read.size());
        }
    }

    #[test]
    fn text_properties_keep_names_values_and_size(
        application in prop::collection::btree_map(".{0,20}", ".{0,20}", 0..5),
        ids in prop::collection::vec(".{0,20}", 0..2),
    ) {
        let system = ids.iter().map(|id| (SystemProperty::MessageId, id.clone())).collect();
        let sent = MessageProperties { system, application };
        let typed = EventProperties::from(&sent);
        prop_assert_eq!(typed.size(), sent.size());
        let application: Vec<_> = typed.application().map(|(name, value)| (name, value.as_str().unwrap())).collect();
        let expected: Vec<_> =
            sent.application.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        prop_assert_eq!(application, expected);
        prop_assert_eq!(
            typed.get(SystemProperty::MessageId).and_then(PropertyValue::as_str),
            sent.get(SystemProperty::MessageId)
        );
    }
}

#[test]
fn the_stored_form_never_changes() {
    let mut properties = EventProperties::new();
    properties.push(PropertyName::System(SystemProperty::MessageId), PropertyValue::Ulong(7));
    properties.push(PropertyName::System(SystemProperty::TraceState), PropertyValue::Symbol("t"));
    properties.push(PropertyName::Application("é"), PropertyValue::Boolean(true));
    let long = "x".repeat(300);
    properties.push(PropertyName::Application("n"), PropertyValue::String(&long));
    let expected = [
        &b"\x01\x01\x05\0\0\0\0\0\0\0\x07\x10\x14\x01t\0\x02\xc3\xa9\x01\x01\0\x01n\x13\xac\x02"[..],
        long.as_bytes(),
    ];
    assert_eq!(properties.as_stored(), expected.concat());
    assert_eq!(properties.size(), 8 + 1 + 3 + 301);
}

#[test]
fn malformed_and_unknown_forms_are_refused() {
    use MalformedProperties::{Malformed, UnknownVersion};
    let refused: [(&[u8], MalformedProperties); 9] = [
        (b"", Malformed),
        (b"\x00", UnknownVersion(0)),
        (b"\x02", UnknownVersion(2)),
        (b"\x01\x12\x00", Malformed),
        (b"\x01\x01\x15", Malformed),
        (b"\x01\x01\x01\x02", Malformed),
        (b"\x01\x01\x0f\x00\x00\xd8\x00", Malformed),
        (b"\x01\x01\x13\x01\xff", Malformed),
        (b"\x01\x01\x12\xff\xff\xff\xff\x1f", Malformed),
    ];
    for (stored, error) in refused {
        assert_eq!(EventProperties::from_stored(stored.to_vec()), Err(error), "{stored:?}");
    }
    assert_eq!(EventProperties::from_stored(vec![1]), Ok(EventProperties::new()));
}

#[test]
fn values_are_displayed_as_text() {
    use PropertyValue as V;
    let texts = [
        (V::Null, ""),
        (V::Boolean(true), "true"),
        (V::Byte(-1), "-1"),
        (V::Double(0.5), "0.5"),
        (V::Decimal32([0, 0, 0, 16]), "0x00000010"),
        (V::Char('é'), "é"),
        (V::Timestamp(Timestamp::from_unix_millis(1)), "1970-01-01T00:00:00.001Z"),
        (V::Uuid(Guid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)), "01234567-89ab-cdef-0123-456789abcdef"),
        (V::Binary(b"text"), "text"),
        (V::Binary(b"\xff\x00"), "/wA="),
        (V::Symbol("s"), "s"),
    ];
    for (value, text) in texts {
        assert_eq!(value.to_string(), text);
    }
}
