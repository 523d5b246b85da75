//! Tests of the client state machine alone; `tests/behaviour/client_and_server.rs` tests it together with a server.
#![expect(clippy::disallowed_methods, reason = "the origin of the virtual clock")]

use super::*;
use crate::{Refusal, SubscribeCode};

fn connect(config: Config, session: Session, now: Instant) -> Connection {
    let connect = Connect { client_id: "d1".try_into().unwrap(), keep_alive: 60, ..Connect::default() };
    Connection::connect(Arc::new(config), &connect, session, now).unwrap()
}

fn connected(config: Config, session: Session, now: Instant) -> Connection {
    let mut connection = connect(config, session, now);
    assert_eq!(sent(&mut connection), b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x3c\x00\x02d1");
    connection.handle_input(b"\x20\x02\x01\x00", now).unwrap();
    assert_eq!(connection.poll_event(), Some(Event::Connected { session_present: true }));
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
fn a_connection_and_an_event_are_small() {
    assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    assert!(size_of::<Event>() <= 80, "{}", size_of::<Event>());
}

#[test]
fn the_first_packet_must_be_connack_within_the_time_out() {
    let now = Instant::now();
    let mut connection = connect(Config::default(), Session::default(), now);
    assert_eq!(connection.publish("a", QoS::AtMostOnce, Bytes::new()), Err(SendError::NotConnected));
    assert_eq!(connection.subscribe(&[("a", QoS::AtMostOnce)]), Err(SendError::NotConnected));
    assert_eq!(
        connection.handle_input(b"\xd0\x00", now),
        Err(ProtocolError::Unexpected(PacketKind::PingResp))
    );

    let mut connection = connect(Config::default(), Session::default(), now);
    let end = now + Duration::from_secs(60);
    assert_eq!(connection.poll_timeout(), Some(end));
    assert_eq!(connection.handle_timeout(end), Err(ProtocolError::ConnectTimeout));
}

#[test]
fn a_refusal_is_the_last_event() {
    let now = Instant::now();
    let mut connection = connect(Config::default(), Session::default(), now);
    connection.handle_input(b"\x20\x02\x00\x05\x30\x03\x00\x01a", now).unwrap();
    assert_eq!(connection.poll_event(), Some(Event::Refused(Refusal::NotAuthorized)));
    assert_eq!(connection.poll_event(), None);
    assert!(connection.is_closed());
}

#[test]
fn pings_are_sent_and_a_missing_pingresp_is_an_error() {
    let now = Instant::now();
    let mut connection = connected(Config::default(), Session::default(), now);
    let at = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(connection.poll_timeout(), Some(at(60)));
    connection.handle_timeout(at(59)).unwrap();
    assert_eq!(connection.transmit_len(), 0);
    connection.handle_timeout(at(60)).unwrap();
    assert_eq!(sent(&mut connection), b"\xc0\x00");
    assert_eq!(connection.poll_timeout(), Some(at(90)));
    connection.handle_input(b"\xd0\x00", at(61)).unwrap();
    assert_eq!(connection.poll_timeout(), Some(at(120)));
    connection.handle_timeout(at(120)).unwrap();
    assert_eq!(connection.handle_timeout(at(150)), Err(ProtocolError::PingTimeout));
}

#[test]
fn unacknowledged_messages_are_sent_again_in_order() {
    let now = Instant::now();
    let mut connection = connected(Config::default(), Session::default(), now);
    for (index, payload) in [b"x", b"y", b"z"].into_iter().enumerate() {
        let topic = format_args!("t/{index}");
        connection.publish(topic, QoS::AtLeastOnce, Bytes::from_static(payload)).unwrap();
    }
    assert_eq!(sent(&mut connection).len(), 30);
    connection.handle_input(b"\x40\x02\x00\x02", now).unwrap();
    assert_eq!(connection.poll_event(), Some(Event::PubAck(id(2))));
    connection.disconnect();
    assert_eq!(sent(&mut connection), b"\xe0\x00");

    let session = connection.into_session();
    assert_eq!(session.unacknowledged().collect::<Vec<_>>(), [id(1), id(3)]);
    let mut connection = connected(Config::default(), session, now);
    assert_eq!(sent(&mut connection), b"\x3a\x08\x00\x03t/0\x00\x01x\x3a\x08\x00\x03t/2\x00\x03z");
    assert_eq!(connection.publish("t", QoS::AtLeastOnce, Bytes::new()), Ok(Some(id(4))));
}

#[test]
fn a_session_can_be_copied_while_its_connection_is_in_use() {
    let now = Instant::now();
    let mut old = connected(Config::default(), Session::default(), now);
    old.publish("a", QoS::AtLeastOnce, Bytes::from_static(b"x")).unwrap();
    old.publish("b", QoS::AtLeastOnce, Bytes::from_static(b"y")).unwrap();
    let mut session = old.session().clone();
    assert!(session.remove(id(1)));
    old.handle_input(b"\x40\x02\x00\x01", now).unwrap();
    assert_eq!(
        old.poll_event(),
        Some(Event::PubAck(id(1))),
        "the old connection still has both messages in flight"
    );
    let mut new = connected(Config::default(), session, now);
    assert_eq!(sent(&mut new), b"\x3a\x06\x00\x01b\x00\x02y");
    assert_eq!(new.publish("c", QoS::AtLeastOnce, Bytes::new()), Ok(Some(id(3))));
}

#[test]
fn all_packets_in_flight_share_one_limit() {
    let now = Instant::now();
    let mut connection = connected(Config { max_in_flight: 2, ..Config::default() }, Session::default(), now);
    assert_eq!(connection.subscribe(&[("a", QoS::AtLeastOnce), ("b", QoS::AtMostOnce)]), Ok(id(1)));
    assert_eq!(connection.publish("a", QoS::AtLeastOnce, Bytes::new()), Ok(Some(id(2))));
    assert_eq!(connection.unsubscribe(&["a"]), Err(SendError::TooManyInFlight));
    connection.handle_input(b"\x90\x04\x00\x01\x01\x80\x40\x02\x00\x02", now).unwrap();
    let codes = vec![SubscribeCode::Granted(QoS::AtLeastOnce), SubscribeCode::Failure];
    assert_eq!(connection.poll_event(), Some(Event::SubAck { packet_id: id(1), codes }));
    assert_eq!(connection.poll_event(), Some(Event::PubAck(id(2))));
    assert_eq!(connection.unsubscribe(&["a"]), Ok(id(3)));
    connection.handle_input(b"\xb0\x02\x00\x03", now).unwrap();
    assert_eq!(connection.poll_event(), Some(Event::UnsubAck(id(3))));
    assert_eq!(connection.in_flight(), 0);
}

#[test]
fn an_acknowledgement_must_match_a_request() {
    let now = Instant::now();
    for (input, kind) in [
        (&b"\x90\x04\x00\x01\x01\x01"[..], PacketKind::SubAck),
        (b"\x90\x03\x00\x02\x01", PacketKind::SubAck),
        (b"\xb0\x02\x00\x01", PacketKind::UnsubAck),
    ] {
        let mut connection = connected(Config::default(), Session::default(), now);
        connection.subscribe(&[("a", QoS::AtLeastOnce)]).unwrap();
        assert_eq!(connection.handle_input(input, now), Err(ProtocolError::UnexpectedAck(kind)));
    }
}

#[test]
fn puback_is_automatic_or_left_to_the_application() {
    let now = Instant::now();
    for auto_puback in [true, false] {
        let config = Config { auto_puback, ..Config::default() };
        let mut connection = connected(config, Session::default(), now);
        connection.handle_input(b"\x32\x05\x00\x01a\x00\x09", now).unwrap();
        assert_eq!(connection.transmit_len(), 0);
        assert!(matches!(connection.poll_event(), Some(Event::Publish(_))));
        if !auto_puback {
            assert_eq!(connection.transmit_len(), 0);
            connection.puback(id(9));
        }
        assert_eq!(sent(&mut connection), b"\x40\x02\x00\x09");
    }
}

#[test]
fn client_packets_from_a_server_are_protocol_errors() {
    let now = Instant::now();
    for input in
        [&b"\x20\x02\x00\x00"[..], b"\xc0\x00", b"\xe0\x00", b"\x82\x06\x00\x01\x00\x01a\x00", b"\xd0\x00"]
    {
        let mut connection = connected(Config::default(), Session::default(), now);
        assert!(matches!(connection.handle_input(input, now), Err(ProtocolError::Unexpected(_))));
    }
    let mut connection = connected(Config::default(), Session::default(), now);
    assert_eq!(
        connection.handle_input(b"\x34\x05\x00\x01a\x00\x01", now),
        Err(ProtocolError::QoS2NotSupported)
    );
}
