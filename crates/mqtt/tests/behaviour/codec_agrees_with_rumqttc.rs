//! Compares this codec with the one of rumqttc, which is less strict and cannot represent every packet. So the tests
//! check two things: rumqttc reads each packet we encode and encodes it to the same bytes, and rumqttc decodes each
//! packet that we accept from corrupted bytes in the same way.

use bytes::BytesMut;
use ferrohub_mqtt::{Packet, decode_slice};
use proptest::prelude::*;
use rumqttc::mqttbytes::v4;

use crate::packets::{LIMITS, corrupted_bytes, encoded, packet};

/// Decodes `bytes` with rumqttc and encodes the packet again.
fn round_trip(bytes: &[u8]) -> Result<BytesMut, rumqttc::mqttbytes::Error> {
    let packet = v4::Packet::read(&mut BytesMut::from(bytes), LIMITS.max_packet_size)?;
    let mut out = BytesMut::new();
    packet.write(&mut out, LIMITS.max_packet_size)?;
    Ok(out)
}

/// Returns whether rumqttc can represent the packet: it drops empty user names and passwords, and requires passwords to
/// be UTF-8.
fn rumqttc_supports(packet: &Packet) -> bool {
    let Packet::Connect(connect) = packet else {
        return true;
    };
    let username = connect.username.as_ref().is_none_or(|username| !username.is_empty());
    let password = |password: &bytes::Bytes| !password.is_empty() && std::str::from_utf8(password).is_ok();
    username && connect.password.as_ref().is_none_or(password)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn rumqttc_reads_encoded_packets(packet in packet().prop_filter("supported by rumqttc", rumqttc_supports)) {
        let bytes = encoded(&packet);
        prop_assert_eq!(round_trip(&bytes).unwrap(), bytes);
    }

    #[test]
    fn rumqttc_decodes_accepted_packets_to_the_same_values(bytes in corrupted_bytes()) {
        match decode_slice(&bytes, &LIMITS) {
            Ok(Some((packet, _))) if rumqttc_supports(&packet) => {
                prop_assert_eq!(round_trip(&bytes).unwrap(), encoded(&packet));
            }
            Ok(None) => {
                let incomplete = matches!(round_trip(&bytes), Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)));
                prop_assert!(incomplete);
            }
            _ => {}
        }
    }
}
