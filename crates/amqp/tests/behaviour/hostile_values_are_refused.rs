//! Malformed values and limits of the decoder: each has its own refusal.

use bytes::BytesMut;
use ferrohub_amqp::{
    Composite, DecodeError, Encoder, MAX_DEPTH, MAX_EMPTY_ELEMENTS, Value,
    frame::Frame,
    performative::{Begin, Detach, Performative},
};

fn error(bytes: &[u8]) -> DecodeError {
    Value::decode(&mut &*bytes).unwrap_err()
}

#[test]
fn malformed_primitives_are_refused() {
    assert_eq!(error(b""), DecodeError::UnexpectedEnd);
    assert_eq!(error(b"\x70\0\0\0"), DecodeError::UnexpectedEnd);
    assert_eq!(error(b"\xa1\x05abc"), DecodeError::UnexpectedEnd);
    assert_eq!(error(b"\xb0\xff\xff\xff\xff"), DecodeError::UnexpectedEnd);
    assert_eq!(error(b"\x3f"), DecodeError::InvalidConstructor(0x3f));
    assert_eq!(error(b"\x46"), DecodeError::InvalidConstructor(0x46));
    assert_eq!(error(b"\x56\x02"), DecodeError::InvalidBoolean(2));
    assert_eq!(error(b"\x73\0\0\xd8\0"), DecodeError::InvalidChar);
    assert_eq!(error(b"\xa1\x01\xff"), DecodeError::InvalidUtf8);
    assert_eq!(error(b"\xa3\x01\xff"), DecodeError::InvalidUtf8);
}

#[test]
fn malformed_compounds_are_refused() {
    // A count without elements, elements without a count, an element over the end, no room for the count.
    assert_eq!(error(b"\xc0\x01\x01"), DecodeError::SizeMismatch);
    assert_eq!(error(b"\xc0\x02\x00\x40"), DecodeError::SizeMismatch);
    assert_eq!(error(b"\xc0\x03\x01\x70\x00\x00\x00\x00"), DecodeError::SizeMismatch);
    assert_eq!(error(b"\xc0\x00"), DecodeError::SizeMismatch);
    assert_eq!(error(b"\xd0\0\0\0\x04\xff\xff\xff\xff"), DecodeError::SizeMismatch);
    assert_eq!(error(b"\xc1\x02\x01\x40"), DecodeError::OddMap);
    assert_eq!(error(b"\xe0\x03\x02\x50\x01"), DecodeError::SizeMismatch);
}

#[test]
fn malformed_descriptions_are_refused() {
    assert_eq!(error(b"\x00"), DecodeError::UnexpectedEnd);
    assert_eq!(error(b"\x00\x53\x10"), DecodeError::UnexpectedEnd);
    assert_eq!(error(b"\x00\xa1\x01x\x40"), DecodeError::InvalidDescriptor);
    assert_eq!(error(b"\x00\x00\x53\x01\x53\x02\x40"), DecodeError::InvalidDescriptor);
    assert_eq!(error(b"\x00\x53\x10\x3f"), DecodeError::InvalidConstructor(0x3f));
    // An array of values that are described twice.
    assert_eq!(error(b"\xe0\x07\x01\x00\x53\x01\x00\x53\x02"), DecodeError::InvalidConstructor(0));
}

#[test]
fn nesting_is_limited() {
    let nested = |levels: u32| {
        let mut bytes = BytesMut::from(&b"\x40"[..]);
        for _ in 0..levels {
            let inner = bytes.split();
            let value = Value::decode(&mut &inner[..]);
            match value {
                Ok(value) => Encoder::new(&mut bytes).list(|list| list.value(&value)),
                Err(error) => return Err(error),
            }
        }
        Value::decode(&mut &bytes[..]).map(|_| ())
    };
    assert_eq!(nested(MAX_DEPTH), Ok(()));
    assert_eq!(nested(MAX_DEPTH + 1), Err(DecodeError::TooDeep));
    // Descriptions of descriptions nest as well, and a long chain of them does not exhaust the stack.
    let chain = [b"\x00\x53\x01".repeat(100_000), b"\x40".to_vec()].concat();
    assert_eq!(error(&chain), DecodeError::TooDeep);
}

#[test]
fn arrays_of_elements_without_bytes_are_limited() {
    let array =
        |count: u32| [b"\xf0\0\0\0\x05".to_vec(), count.to_be_bytes().to_vec(), b"\x40".to_vec()].concat();
    let largest = array(MAX_EMPTY_ELEMENTS);
    let Ok(Value::Array(value)) = Value::decode(&mut &largest[..]) else { panic!() };
    assert_eq!(value.iter().count(), 256);
    assert_eq!(error(&array(MAX_EMPTY_ELEMENTS + 1)), DecodeError::TooManyEmptyElements);
    assert_eq!(error(&array(u32::MAX)), DecodeError::TooManyEmptyElements);
}

#[test]
fn composite_values_are_tolerant_of_length_but_not_of_types() {
    // Three fields of eight, no field, one more field than known.
    let begin = Begin::decode(b"\x00\x53\x11\xc0\x05\x04\x40\x43\x43\x43").unwrap();
    assert_eq!((begin.remote_channel, begin.handle_max), (None, u32::MAX));
    let missing = DecodeError::MissingField { composite: "amqp:begin:list", field: "next_outgoing_id" };
    assert_eq!(Begin::decode(b"\x00\x53\x11\x45"), Err(missing));
    assert!(Detach::decode(b"\x00\x53\x16\xc0\x05\x04\x43\x41\x40\x40").is_ok());
    let wrong = DecodeError::WrongFieldType { composite: "amqp:detach:list", field: "handle" };
    assert_eq!(Detach::decode(b"\x00\x53\x16\xc0\x02\x01\x41"), Err(wrong));
    // A symbolic descriptor is as good as a numeric one.
    assert!(Detach::decode(b"\x00\xa3\x10amqp:detach:list\xc0\x02\x01\x43").is_ok());
    assert_eq!(Detach::decode(b"\x00\x53\x16\xc0\x02\x01\x43\x00"), Err(DecodeError::TrailingBytes));
}

#[test]
fn unknown_performatives_and_bytes_after_one_are_refused() {
    assert_eq!(Performative::decode(b"\x00\x53\x40\x45"), Err(DecodeError::UnexpectedDescriptor(0x40)));
    assert_eq!(Performative::decode(b"\x00\xa3\x01x\x45"), Err(DecodeError::UnknownSymbol));
    assert_eq!(Performative::decode(b"\x45"), Err(DecodeError::NotComposite));
    assert_eq!(Performative::decode(b"\x00\x53\x17\x40"), Err(DecodeError::NotComposite));
    assert_eq!(Performative::decode(b"\x00\x53\x17\x45\x00"), Err(DecodeError::TrailingBytes));
}

#[test]
fn malformed_frames_are_refused() {
    assert_eq!(Frame::decode(b"\0\0\0\x08\x02\0\0"), Err(DecodeError::InvalidFrameHeader));
    assert_eq!(Frame::decode(b"\0\0\0\x08\x01\0\0\0"), Err(DecodeError::InvalidFrameHeader));
    assert_eq!(Frame::decode(b"\0\0\0\x08\x03\0\0\0"), Err(DecodeError::InvalidFrameHeader));
    assert_eq!(Frame::decode(b"\0\0\0\x09\x02\0\0\0"), Err(DecodeError::InvalidFrameHeader));
    assert_eq!(Frame::decode(b"\0\0\0\x08\x02\x02\0\0"), Err(DecodeError::UnexpectedFrameType(2)));
    // An extended header is skipped (AMQP §2.3.1).
    assert_eq!(
        Frame::decode(b"\0\0\0\x0d\x03\0\0\x07????x").map(|frame| (frame.channel, frame.body)),
        Ok((7, &b"x"[..]))
    );
}
