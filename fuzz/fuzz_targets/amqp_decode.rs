//! Fuzzes the AMQP decoders of values, performatives and frames: what is decoded can be encoded, and decodes to the same
//! again.
#![no_main]

use bytes::BytesMut;
use ferrohub_amqp::{
    Encoder, Value,
    frame::Frame,
    performative::{Performative, SaslFrame},
};
use libfuzzer_sys::fuzz_target;

/// Visits everything inside a value.
fn walk(value: Value<'_>) {
    match value {
        Value::List(list) => assert_eq!(list.iter().map(walk).count(), list.len()),
        Value::Array(array) => assert_eq!(array.iter().map(walk).count(), array.len()),
        Value::Map(map) => {
            assert_eq!(map.iter().map(|(key, value)| (walk(key), walk(value))).count(), map.len())
        }
        Value::Described(described) => walk(described.value()),
        _ => {}
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(value) = Value::decode(&mut &*input) {
        walk(value);
        let mut out = BytesMut::new();
        Encoder::new(&mut out).value(&value);
        let mut again = BytesMut::new();
        Encoder::new(&mut again).value(&Value::decode(&mut &out[..]).unwrap());
        assert_eq!(out, again);
    }
    let body = Frame::decode(input).map_or(input, |frame| frame.body);
    // The bytes are compared, because a NaN is not equal to itself.
    if let Ok((performative, payload)) = Performative::decode(body) {
        let mut out = BytesMut::new();
        performative.encode(&mut out);
        out.extend_from_slice(payload);
        let (decoded, same) = Performative::decode(&out).unwrap();
        assert_eq!(payload, same);
        let mut again = BytesMut::new();
        decoded.encode(&mut again);
        assert_eq!(out[..out.len() - payload.len()], again[..]);
    }
    if let Ok(frame) = SaslFrame::decode(body) {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        let mut again = BytesMut::new();
        SaslFrame::decode(&out).unwrap().encode(&mut again);
        assert_eq!(out, again);
    }
});
