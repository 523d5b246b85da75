use bytes::BytesMut;
use ferrohub_mqtt::{Limits, decode, decode_slice};
use proptest::prelude::*;

use crate::packets::{LIMITS, encoded, packet};

proptest! {
    #[test]
    fn decoding_an_encoded_packet_gives_the_same_packet(packet in packet()) {
        let bytes = encoded(&packet);
        prop_assert_eq!(decode_slice(&bytes, &LIMITS), Ok(Some((packet.clone(), bytes.len()))));

        let mut buffer = bytes.clone();
        buffer.extend_from_slice(b"\xc0");
        prop_assert_eq!(decode(&mut buffer, &LIMITS), Ok(Some(packet)));
        prop_assert_eq!(&buffer[..], b"\xc0");
    }

    #[test]
    fn an_incomplete_packet_is_neither_a_packet_nor_an_error(packet in packet(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&packet);
        let part = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(decode_slice(part, &LIMITS), Ok(None));
        let mut buffer = BytesMut::from(part);
        prop_assert_eq!(decode(&mut buffer, &LIMITS), Ok(None));
        prop_assert_eq!(&buffer[..], part);
    }

    #[test]
    fn the_size_limit_is_inclusive(packet in packet()) {
        let bytes = encoded(&packet);
        let limits = Limits { max_packet_size: bytes.len(), ..LIMITS };
        prop_assert!(decode_slice(&bytes, &limits).is_ok());
        let limits = Limits { max_packet_size: bytes.len() - 1, ..LIMITS };
        prop_assert!(decode_slice(&bytes[..5.min(bytes.len())], &limits).is_err());
    }
}

#[test]
fn strings_and_payload_share_the_buffer() {
    let mut buffer = BytesMut::from(&b"\x30\x08\x00\x03a/bxyz"[..]);
    let range = buffer.as_ptr_range();
    let Ok(Some(ferrohub_mqtt::Packet::Publish(publish))) = decode(&mut buffer, &LIMITS) else { panic!() };
    assert!(range.contains(&publish.topic.as_bytes().as_ptr()));
    assert!(range.contains(&publish.payload.as_ptr()));
}
