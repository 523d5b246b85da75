//! Tests of the server state machine alone; `tests/behaviour/client_and_server.rs` tests it together with a client.
#![expect(clippy::disallowed_methods, reason = "the origin of the virtual clock")]

use std::time::Duration;

use super::*;

/// CONNECT of "d1", keep-alive 60 s.
const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d1";

fn fresh(now: Instant) -> Connection {
    let config =
        Config { max_connect_size: 64, max_buffered_input: 32, max_in_flight: 2, ..Config::default() };
    Connection::new(Arc::new(config), now)
}

fn connected(now: Instant) -> Connection {
    let mut connection = fresh(now);
    connection.handle_input(CONNECT, now).unwrap();
    assert!(matches!(connection.poll_event(), Some(Event::Connect(_))));
    connection.accept(false, now).unwrap();
    assert_eq!(sent(&mut connection), b"\x20\x02\x00\x00");
    assert_eq!(connection.poll_event(), None);
    connection
}

fn sent(connection: &mut Connection) -> Vec<u8> {
    let mut out = BytesMut::new();
    connection.poll_transmit(&mut out);
    out.to_vec()
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

#[test]
fn an_idle_connection_is_small_and_owns_no_heap_memory() {
    assert!(size_of::<Connection>() <= 200, "{}", size_of::<Connection>());
    assert!(size_of::<Event>() <= 80, "{}", size_of::<Event>());
    let now = Instant::now();
    let mut connection = connected(now);
    connection.publish("a", QoS::AtLeastOnce, b"x").unwrap();
    let _ = sent(&mut connection);
    connection.handle_input(b"\x40\x02\x00\x01\x30\x04\x00\x01ax\xc0", now).unwrap();
    connection.handle_input(b"\x00", now).unwrap();
    while connection.poll_event().is_some() {}
    assert_eq!(sent(&mut connection), b"\xd0\x00");
    assert_eq!(connection.events.capacity(), 0);
    assert_eq!(connection.in_flight.capacity(), 0);
    assert_eq!(connection.transmit.capacity(), 0);
    assert_eq!(connection.assembler.len(), 0);
}

#[test]
fn the_first_packet_must_be_connect() {
    let now = Instant::now();
    let mut connection = fresh(now);
    assert_eq!(
        connection.handle_input(b"\xc0\x00", now),
        Err(ProtocolError::Unexpected(PacketKind::PingReq))
    );
    assert!(connection.is_closed() && !connection.wants_read());
    assert_eq!((connection.poll_timeout(), connection.poll_event()), (None, None));
    assert_eq!(connection.handle_input(CONNECT, now), Ok(()));
    assert_eq!(connection.poll_event(), None);
}

#[test]
fn a_second_connect_and_server_packets_are_protocol_errors() {
    let now = Instant::now();
    for (input, kind) in [
        (CONNECT, PacketKind::Connect),
        (b"\x20\x02\x00\x00", PacketKind::ConnAck),
        (b"\x50\x02\x00\x01", PacketKind::PubRec),
        (b"\x62\x02\x00\x01", PacketKind::PubRel),
        (b"\x70\x02\x00\x01", PacketKind::PubComp),
        (b"\x90\x03\x00\x01\x00", PacketKind::SubAck),
        (b"\xb0\x02\x00\x01", PacketKind::UnsubAck),
        (b"\xd0\x00", PacketKind::PingResp),
    ] {
        let mut connection = connected(now);
        assert_eq!(connection.handle_input(input, now), Err(ProtocolError::Unexpected(kind)));
    }
    let mut connection = connected(now);
    assert_eq!(
        connection.handle_input(b"\x34\x05\x00\x01a\x00\x01", now),
        Err(ProtocolError::QoS2NotSupported)
    );
}

#[test]
fn events_before_an_error_are_kept() {
    let now = Instant::now();
    let mut connection = connected(now);
    assert!(connection.handle_input(b"\x30\x04\x00\x01ax\xff\x00", now).is_err());
    assert!(matches!(connection.poll_event(), Some(Event::Publish(_))));
    assert_eq!(connection.poll_event(), None);
}

#[test]
fn an_unsupported_version_gets_a_connack_with_code_1() {
    let now = Instant::now();
    let mut connection = fresh(now);
    // MQTT 5: the keep-alive is followed by properties, which are not decoded.
    let result = connection.handle_input(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d1", now);
    assert_eq!(result, Err(ProtocolError::Decode(DecodeError::ProtocolLevel(5))));
    assert_eq!(sent(&mut connection), b"\x20\x02\x00\x01");

    let mut connection = fresh(now);
    let result = connection.handle_input(b"\x10\x0e\x00\x04HTTP\x04\x02\x00\x3c\x00\x02d1", now);
    assert_eq!(result, Err(ProtocolError::Decode(DecodeError::ProtocolName)));
    assert_eq!(connection.transmit_len(), 0);
}

#[test]
fn input_after_connect_is_processed_after_accept() {
    let now = Instant::now();
    let mut connection = fresh(now);
    connection.handle_input(&[CONNECT, b"\x82\x06\x00\x01\x00\x01"].concat(), now).unwrap();
    connection.handle_input(b"a\x00\xc0\x00\x30\x04\x00\x01ax\xe0\x00", now).unwrap();
    assert!(matches!(connection.poll_event(), Some(Event::Connect(_))));
    assert_eq!(connection.poll_event(), None);
    assert!(!connection.wants_read());

    connection.accept(true, now).unwrap();
    assert_eq!(sent(&mut connection), b"\x20\x02\x01\x00\xd0\x00");
    assert!(matches!(connection.poll_event(), Some(Event::Subscribe(_))));
    assert!(matches!(connection.poll_event(), Some(Event::Publish(_))));
    assert_eq!(connection.poll_event(), Some(Event::Disconnect));
    assert!(connection.is_closed());
}

#[test]
fn held_input_is_bounded() {
    let now = Instant::now();
    let mut connection = fresh(now);
    connection.handle_input(CONNECT, now).unwrap();
    connection.handle_input(&[0; 32], now).unwrap();
    assert_eq!(connection.handle_input(&[0], now), Err(ProtocolError::BufferedInputOverflow));
}

#[test]
fn connect_has_its_own_size_limit() {
    let now = Instant::now();
    let mut connection = fresh(now);
    let error = DecodeError::TooLarge { size: 65, limit: 64 };
    assert_eq!(connection.handle_input(b"\x10\x3f", now), Err(error.into()));
    assert!(connected(now).handle_input(b"\x30\x3f", now).is_ok());
}

#[test]
fn a_refusal_closes_the_connection() {
    let now = Instant::now();
    let mut connection = fresh(now);
    connection.handle_input(&[CONNECT, b"\xc0\x00"].concat(), now).unwrap();
    connection.reject(Refusal::NotAuthorized);
    connection.accept(false, now).unwrap();
    assert_eq!(sent(&mut connection), b"\x20\x02\x00\x05");
    assert!(connection.is_closed());
    assert_eq!(connection.publish("a", QoS::AtMostOnce, b""), Err(SendError::NotConnected));
    connection.puback(id(1));
    assert_eq!(connection.transmit_len(), 0);
}

#[test]
fn the_connect_time_out_includes_the_decision_of_the_application() {
    let now = Instant::now();
    let mut connection = fresh(now);
    let end = now + Duration::from_secs(60);
    assert_eq!(connection.poll_timeout(), Some(end));
    connection.handle_input(CONNECT, now + Duration::from_secs(59)).unwrap();
    assert_eq!(connection.poll_timeout(), Some(end));
    assert_eq!(connection.handle_timeout(end - Duration::from_nanos(1)), Ok(()));
    assert_eq!(connection.handle_timeout(end), Err(ProtocolError::ConnectTimeout));
}

#[test]
fn the_keep_alive_time_out_is_one_and_a_half_keep_alives_and_capped() {
    let config = Config::default();
    for (keep_alive, millis) in
        [(0, 1_767_000), (1, 1_500), (60, 90_000), (1177, 1_765_500), (1179, 1_767_000)]
    {
        assert_eq!(config.keep_alive_timeout(keep_alive), Duration::from_millis(millis));
    }
    assert_eq!(config.keep_alive_timeout(u16::MAX), Duration::from_secs(1767));

    let now = Instant::now();
    let mut connection = connected(now);
    let later = now + Duration::from_secs(80);
    connection.handle_input(b"\xc0", later).unwrap();
    assert_eq!(connection.handle_timeout(now + Duration::from_secs(90)), Ok(()));
    assert_eq!(connection.poll_timeout(), Some(later + Duration::from_secs(90)));
    assert_eq!(
        connection.handle_timeout(later + Duration::from_secs(90)),
        Err(ProtocolError::KeepAliveTimeout)
    );
}

#[test]
fn messages_in_flight_are_bounded_and_have_unique_identifiers() {
    let now = Instant::now();
    let mut connection = connected(now);
    assert_eq!(connection.publish("a", QoS::AtLeastOnce, b""), Ok(Some(id(1))));
    assert_eq!(connection.publish("a", QoS::AtLeastOnce, b""), Ok(Some(id(2))));
    assert_eq!(connection.publish("a", QoS::AtLeastOnce, b""), Err(SendError::TooManyInFlight));
    assert_eq!(connection.publish("a", QoS::AtMostOnce, b""), Ok(None));
    assert_eq!(connection.publish("a", QoS::ExactlyOnce, b""), Err(SendError::QoS2NotSupported));
    // 9 was never sent: its PUBACK is neither an event nor an error.
    connection.handle_input(b"\x40\x02\x00\x09\x40\x02\x00\x02", now).unwrap();
    assert_eq!(connection.poll_event(), Some(Event::PubAck(id(2))));
    assert_eq!(connection.poll_event(), None);
    connection.next_id = id(1);
    assert_eq!(connection.publish("a", QoS::AtLeastOnce, b""), Ok(Some(id(2))));
}

#[test]
fn a_message_of_an_earlier_connection_is_sent_with_dup() {
    let now = Instant::now();
    let mut connection = connected(now);
    connection.republish(id(7), "a", b"x").unwrap();
    assert_eq!(sent(&mut connection), b"\x3a\x06\x00\x01a\x00\x07x");
    assert_eq!(connection.republish(id(7), "a", b"x"), Err(SendError::TooManyInFlight));
    connection.handle_input(b"\x40\x02\x00\x07", now).unwrap();
    assert_eq!(connection.poll_event(), Some(Event::PubAck(id(7))));
}

#[test]
fn a_message_that_cannot_be_encoded_changes_nothing() {
    let now = Instant::now();
    let mut connection = connected(now);
    for topic in ["", "a\0", "a/+", "#"] {
        assert!(connection.publish(topic, QoS::AtLeastOnce, b"").is_err());
    }
    assert!(connection.publish("a".repeat(65_536), QoS::AtLeastOnce, b"").is_err());
    assert_eq!(connection.transmit_len(), 0);
    assert_eq!(connection.publish("a".repeat(65_535), QoS::AtLeastOnce, b""), Ok(Some(id(1))));
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let now = Instant::now();
    let mut connection = connected(now);
    connection.publish("a", QoS::AtMostOnce, &[0; 64 * 1024]).unwrap();
    assert!(!connection.wants_read());
    let _ = sent(&mut connection);
    assert!(connection.wants_read());
}

/// The hub has one connection per device: its size must not grow unnoticed.
#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 160, "{}", size_of::<Connection>());
}
