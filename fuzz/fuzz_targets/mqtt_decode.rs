//! Fuzzes the MQTT decoders: a decoded packet can be encoded and decoded again to the same packet, and both decoders
//! agree.
#![no_main]

use bytes::BytesMut;
use ferrohub_mqtt::{Limits, decode, decode_slice, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let borrowed = decode_slice(input, &limits);
    let owned = decode(&mut BytesMut::from(input), &limits);
    let packet = borrowed.map(|found| found.map(|(packet, _)| packet));
    assert_eq!(packet, owned);
    if let Ok(Some(packet)) = packet {
        let mut out = BytesMut::new();
        encode(&packet, &mut out).unwrap();
        let again = decode_slice(&out, &limits);
        assert_eq!(again, Ok(Some((packet, out.len()))));
    }
});
