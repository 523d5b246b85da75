//! A foreign codec as referee. It is laxer than ours and cannot say everything, so: what we write it reads and writes
//! back to the same bytes, and what we accept from damaged bytes it understands the same way.

use bytes::BytesMut;
use ferrohub_mqtt::{Packet, decode_slice};
use proptest::prelude::*;
use rumqttc::mqttbytes::v4;

use crate::packets::{LIMITS, corrupted_bytes, encoded, packet};

/// `bytes`, read and written by rumqttc.
fn round_trip(bytes: &[u8]) -> Result<BytesMut, rumqttc::mqttbytes::Error> {
    let packet = v4::Packet::read(&mut BytesMut::from(bytes), LIMITS.max_packet_size)?;
    let mut out = BytesMut::new();
    packet.write(&mut out, LIMITS.max_packet_size)?;
    Ok(out)
}

/// rumqttc drops empty user names and passwords, and takes passwords for strings.
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
    fn on_what_we_write(packet in packet().prop_filter("sayable", rumqttc_supports)) {
        let bytes = encoded(&packet);
        prop_assert_eq!(round_trip(&bytes).unwrap(), bytes);
    }

    #[test]
    fn on_what_we_accept(bytes in corrupted_bytes()) {
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
