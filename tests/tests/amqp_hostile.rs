//! AMQP clients that no real client is: frames out of order, floods, and more of everything than there may be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use ferrohub_acceptance::raw_amqp::{RawAmqp, encode, message, token_request};
use ferrohub_acceptance::sas::{self, Token};
use ferrohub_acceptance::{AmqpClient, Hub, Service, eventually};
use ferrohub_amqp::frame::ProtocolHeader;
use ferrohub_amqp::performative::{
    DeliveryState, Detach, Disposition, End, Flow, Open, Performative, Role, Transfer,
};

const TO: &str = "/devices/dev1/messages/devicebound";

fn token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
}

/// A connection with a token, on whose handle 2 messages can be sent.
fn sender(hub: &Hub) -> RawAmqp {
    let _ = Service::owner(hub).create_device("dev1");
    let mut peer = RawAmqp::open(hub);
    peer.put_token(&token(hub));
    peer.attach_messages(2);
    peer
}

/// Returns the outcome of the next delivery.
#[track_caller]
fn next_outcome(peer: &mut RawAmqp) -> Result<(), String> {
    let frame = peer.expect("amqp:disposition:list");
    let Performative::Disposition(Disposition { state, .. }) = frame.performative() else { unreachable!() };
    match state.expect("an outcome") {
        DeliveryState::Accepted => Ok(()),
        DeliveryState::Rejected(rejected) => Err(rejected.error.unwrap().condition.0.to_owned()),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn wait_for_reason(hub: &Hub, reason: &str, count: f64) {
    eventually(reason, Duration::from_secs(10), || {
        (hub.metric("ferrohub_rejected_sockets_total", reason) >= count).then_some(())
    });
    assert!(hub.log().contains(&format!("reason=\"{reason}\"")), "{reason}: {}", hub.log());
}

#[test]
fn sessions_and_links_have_a_limit_before_and_after_the_token() {
    let hub = Hub::start();
    let mut peer = RawAmqp::open(&hub);
    for channel in 1..4 {
        peer.send(channel, RawAmqp::begin_frame());
    }
    for _ in 2..4 {
        assert_eq!(peer.expect("amqp:end:list").condition(), "amqp:resource-limit-exceeded");
    }
    for handle in 0..10 {
        let name = handle.to_string();
        peer.send(0, RawAmqp::sender_frame(&name, handle, "$cbs"));
    }
    for _ in 8..10 {
        assert_eq!(peer.expect("amqp:detach:list").condition(), "amqp:resource-limit-exceeded");
    }

    let mut peer = RawAmqp::open(&hub);
    peer.put_token(&token(&hub));
    for channel in 1..66 {
        peer.send(channel, RawAmqp::begin_frame());
    }
    for _ in 64..66 {
        assert_eq!(peer.expect("amqp:end:list").condition(), "amqp:resource-limit-exceeded");
    }
    for handle in 2..66 {
        let name = handle.to_string();
        peer.send(0, RawAmqp::sender_frame(&name, handle, "/messages/devicebound"));
    }
    for _ in 64..66 {
        assert_eq!(peer.expect("amqp:detach:list").condition(), "amqp:resource-limit-exceeded");
    }
    // A place becomes free.
    peer.send(0, Detach { handle: 2, closed: true, error: None });
    let _ = peer.expect("amqp:detach:list");
    peer.attach_messages(70);
    // A handle above the announced maximum ends the connection.
    peer.send(0, RawAmqp::sender_frame("high", 256, "/messages/devicebound"));
    peer.read_to_end();
    assert!(hub.log().contains("handle 256 is above the maximum"), "{}", hub.log());
}

#[test]
fn malformed_frames_end_the_connection_with_a_reason() {
    let hub = Hub::start();
    let nested = {
        // A map in a map in a map, in the properties of open.
        let mut value = vec![0x40];
        for _ in 0..100 {
            let mut outer = vec![0xD1];
            let body = [&b"\xa3\x01a"[..], &value].concat();
            outer.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            outer.extend(2_u32.to_be_bytes());
            outer.extend(body);
            value = outer;
        }
        let body = [&b"\xa1\x01a\x40\x40\x40\x40\x40\x40\x40\x40"[..], &value].concat();
        let mut frame = vec![0, 0, 0, 0, 2, 0, 0, 0, 0x00, 0x53, 0x10, 0xD0];
        frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frame.extend(10_u32.to_be_bytes());
        frame.extend(body);
        let size = u32::try_from(frame.len()).unwrap().to_be_bytes();
        frame[..4].copy_from_slice(&size);
        frame
    };
    let huge_array =
        b"\0\0\0\x1a\x02\0\0\0\x00\x53\x10\xc0\x0d\x01\xf0\0\0\0\x08\x7f\xff\xff\xff\x43\0\0".to_vec();
    let begin_before_open = encode(0, RawAmqp::begin_frame(), &[]).to_vec();
    let small_frames = encode(0, Open { max_frame_size: 511, ..RawAmqp::open_frame() }, &[]).to_vec();
    let attacks: [(&str, Vec<u8>); 9] = [
        ("a frame of 7 bytes", b"\0\0\0\x07\x02\0\0".to_vec()),
        ("a data offset behind the end", b"\0\0\0\x08\xff\0\0\0".to_vec()),
        ("an unknown type of frame", b"\0\0\0\x08\x02\x07\0\0".to_vec()),
        ("a frame above the limit before the token", b"\0\0\x40\x01\x02\0\0\0".to_vec()),
        ("a frame of 4 GiB", b"\xff\xff\xff\xff\x02\0\0\0".to_vec()),
        ("begin before open", begin_before_open),
        ("frames of less than 512 bytes", small_frames),
        ("deeply nested properties", nested),
        ("an array of two billion elements without bytes", huge_array),
    ];
    let count = attacks.len();
    for (what, bytes) in attacks {
        let mut peer = RawAmqp::connect(&hub);
        peer.send_bytes(&ProtocolHeader::Amqp.to_bytes());
        peer.send_bytes(&bytes);
        assert_eq!(peer.read_header(), Some(ProtocolHeader::Amqp), "{what}");
        assert!(peer.next_frame().is_none(), "{what}");
    }
    wait_for_reason(&hub, "amqp_protocol_error", count as f64);
    // A second begin on the same channel, and a channel above the maximum.
    for channel in [0, 8192] {
        let mut peer = RawAmqp::open(&hub);
        peer.send(channel, RawAmqp::begin_frame());
        peer.read_to_end();
    }
    wait_for_reason(&hub, "amqp_protocol_error", count as f64 + 2.0);
}

#[test]
fn the_sasl_layer_comes_once_and_first() {
    let hub = Hub::start();
    let response = format!("\0service@sas.root.hub\0{}", token(&hub)).into_bytes();
    // All at once: what follows the credentials waits for the decision.
    let mut peer = RawAmqp::connect(&hub);
    peer.send_bytes(&ProtocolHeader::Sasl.to_bytes());
    peer.send_sasl_init("PLAIN", &response);
    peer.send_bytes(&ProtocolHeader::Amqp.to_bytes());
    peer.send(0, RawAmqp::open_frame());
    peer.send(0, RawAmqp::begin_frame());
    assert_eq!(peer.read_header(), Some(ProtocolHeader::Sasl));
    assert_eq!(peer.sasl_outcome(), Some(0));
    assert_eq!(peer.read_header(), Some(ProtocolHeader::Amqp));
    let _ = peer.expect("amqp:begin:list");
    peer.attach_messages(0);

    for (what, bytes) in [
        ("a second SASL layer", ProtocolHeader::Sasl.to_bytes().to_vec()),
        ("open in the SASL layer", encode(0, RawAmqp::open_frame(), &[]).to_vec()),
    ] {
        let mut peer = RawAmqp::connect(&hub);
        peer.send_bytes(&ProtocolHeader::Sasl.to_bytes());
        peer.send_sasl_init("MSSBCBS", b"");
        peer.send_bytes(&bytes);
        assert_eq!(peer.read_header(), Some(ProtocolHeader::Sasl), "{what}");
        assert_eq!(peer.sasl_outcome(), Some(0), "{what}");
        assert!(peer.read_header().is_none(), "{what}");
    }
    wait_for_reason(&hub, "amqp_header", 2.0);

    // Frames of AMQP instead of credentials, and a SASL frame in AMQP.
    let mut peer = RawAmqp::connect(&hub);
    peer.send_bytes(&ProtocolHeader::Sasl.to_bytes());
    peer.send(0, RawAmqp::open_frame());
    peer.read_to_end();
    let mut peer = RawAmqp::open(&hub);
    peer.send_sasl_init("PLAIN", &response);
    peer.read_to_end();
    wait_for_reason(&hub, "amqp_protocol_error", 2.0);

    let mut peer = RawAmqp::connect(&hub);
    peer.send_bytes(&ProtocolHeader::Sasl.to_bytes());
    peer.send_sasl_init("SCRAM-SHA-256", b"x");
    assert_eq!(peer.read_header(), Some(ProtocolHeader::Sasl));
    assert_eq!(peer.sasl_outcome(), Some(1), "a mechanism that the hub does not offer");
    peer.read_to_end();
}

#[test]
fn too_much_before_the_token_ends_the_connection() {
    let hub = Hub::start();
    let mut peer = RawAmqp::open(&hub);
    // Heartbeats.
    for _ in 0..5 {
        peer.send_bytes(&b"\0\0\0\x08\x02\0\0\0".repeat(2000));
    }
    peer.read_to_end();
    // The beginning of a token that does not end.
    let mut peer = RawAmqp::open(&hub);
    peer.send(0, RawAmqp::sender_frame("to", 0, "$cbs"));
    let _ = peer.expect("amqp:flow:list");
    for _ in 0..5 {
        peer.transfer(0, 0, &vec![b'x'; 16_000], true);
    }
    peer.read_to_end();
    wait_for_reason(&hub, "amqp_too_much_before_token", 2.0);
}

#[test]
fn wrong_frames_in_a_session_end_the_session_only() {
    let hub = Hub::start();
    let mut peer = sender(&hub);
    let transfer = |handle| Transfer { handle, ..Transfer::default() };
    let tag = Some(&[7; 33][..]);
    for (channel, wrong, condition) in [
        (1, Performative::Transfer(transfer(9)), "amqp:session:unattached-handle"),
        (
            2,
            Performative::Attach(RawAmqp::sender_frame("twice", 0, "/messages/devicebound")),
            "amqp:session:handle-in-use",
        ),
        (3, Performative::Transfer(transfer(0)), "amqp:invalid-field"),
        (
            4,
            Performative::Transfer(Transfer { delivery_id: Some(0), delivery_tag: tag, ..transfer(0) }),
            "amqp:invalid-field",
        ),
    ] {
        peer.send(channel, RawAmqp::begin_frame());
        peer.send(channel, RawAmqp::sender_frame("first", 0, "/messages/devicebound"));
        let _ = peer.expect("amqp:flow:list");
        peer.send(channel, wrong);
        let end = peer.expect("amqp:end:list");
        assert_eq!((end.channel, end.condition()), (channel, condition));
    }
    // Frames for what is not there do nothing.
    peer.send(9, End::default());
    peer.send(9, RawAmqp::sender_frame("nowhere", 0, "$cbs"));
    peer.send(0, Detach { handle: 99, closed: true, error: None });
    peer.send(
        0,
        Disposition {
            role: Role::Receiver,
            first: 5,
            last: Some(u32::MAX),
            settled: true,
            ..Disposition::default()
        },
    );
    peer.send(0, Disposition { role: Role::Sender, first: 0, settled: true, ..Disposition::default() });
    peer.send(0, RawAmqp::credit_frame(99, 7));
    peer.transfer(2, 1, &message(TO, b"still"), false);
    assert_eq!(next_outcome(&mut peer), Ok(()));
}

#[test]
fn more_messages_than_credit_and_larger_ones_than_the_maximum_detach_the_link() {
    let hub = Hub::builder().config("[messages]\nqueue_length = 1000").start();
    let mut peer = sender(&hub);
    // Within one write the hub cannot renew the credit of 100 in time.
    let mut flood = BytesMut::new();
    for delivery in 1..=150 {
        let transfer = Transfer {
            handle: 2,
            delivery_id: Some(delivery),
            delivery_tag: Some(b"t"),
            ..Transfer::default()
        };
        flood.extend_from_slice(&encode(0, transfer, &message(TO, b"x")));
    }
    peer.send_bytes(&flood);
    assert_eq!(peer.expect("amqp:detach:list").condition(), "amqp:link:transfer-limit-exceeded");
    peer.send(0, Detach { handle: 2, closed: true, error: None });

    // A message that grows above the maximum of the link, in many frames.
    peer.attach_messages(3);
    for _ in 0..18 {
        peer.transfer(3, 500, &vec![0; 60_000], true);
    }
    assert_eq!(peer.expect("amqp:detach:list").condition(), "amqp:link:message-size-exceeded");
    peer.send(0, Detach { handle: 3, closed: true, error: None });

    // Unfinished messages on several links: together more than the connection may hold.
    for handle in 4..7 {
        peer.attach_messages(handle);
        for _ in 0..15 {
            peer.transfer(handle, 500 + handle, &vec![0; 60_000], true);
        }
    }
    assert_eq!(peer.expect("amqp:detach:list").condition(), "amqp:resource-limit-exceeded");
    // An aborted message gives its memory back.
    let aborted = Transfer { handle: 4, aborted: Some(true), ..Transfer::default() };
    peer.send(0, aborted);
    peer.transfer(5, 505, b"", false);
    assert_eq!(next_outcome(&mut peer), Err("com.microsoft:argument-error".to_owned()));
    peer.transfer(4, 600, &message(TO, b"after"), false);
    assert_eq!(next_outcome(&mut peer), Ok(()));
}

#[test]
fn messages_that_are_not_what_they_seem_are_rejected() {
    let hub = Hub::start();
    let mut peer = sender(&hub);
    let mut deep = vec![0x40];
    for _ in 0..5000 {
        let mut outer = vec![0xD0];
        outer.extend(u32::try_from(deep.len() + 4).unwrap().to_be_bytes());
        outer.extend(1_u32.to_be_bytes());
        outer.extend(deep);
        deep = outer;
    }
    let deep_value = [&b"\0\x53\x77"[..], &deep].concat();
    let cut = message(TO, b"body");
    let twice = [&cut[..], &message(TO, b"body")[..]].concat();
    for (delivery, (what, payload)) in (1..).zip([
        ("nothing", &b""[..]),
        ("a value nested 5000 times", &deep_value),
        ("half a message", &cut[..cut.len() - 2]),
        ("two messages", &twice),
        ("a section that does not exist", b"\0\x53\x01\x40"),
        ("not a section", b"\x40"),
        ("a map with one element", b"\0\x53\x74\xc1\x03\x01\xa1\x00"),
        ("a list of two billion elements without bytes", b"\0\x53\x77\xd0\0\0\0\x04\x7f\xff\xff\xff"),
    ]) {
        peer.transfer(2, delivery, payload, false);
        let outcome = next_outcome(&mut peer);
        assert_eq!(outcome, Err("com.microsoft:argument-error".to_owned()), "{what}");
    }
    peer.transfer(2, 100, &message(TO, b"valid"), false);
    assert_eq!(next_outcome(&mut peer), Ok(()));
}

#[test]
fn a_client_that_asks_and_does_not_read_is_disconnected() {
    let hub = Hub::builder().config("[limits]\nwrite_timeout_seconds = 1").start();
    let before = {
        let mut peer = sender(&hub);
        let flow = Flow { next_incoming_id: Some(1), incoming_window: 1, echo: true, ..Flow::default() };
        let flood = encode(0, flow, &[]).repeat(2000);
        let before = hub.resident_kib();
        // Each flow is answered; the hub stops reading when nobody reads its answers, and then ends the connection.
        for _ in 0..2000 {
            peer.send_bytes(&flood);
        }
        eventually("the connection ends", Duration::from_secs(20), || {
            (hub.metric("ferrohub_sockets", "") == 0.0).then_some(())
        });
        before
    };
    let grown = hub.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
    assert!(hub.log().contains("slow_reader"), "{}", hub.log());
}

#[test]
fn credit_is_no_memory() {
    let hub = Hub::start();
    let mut peer = RawAmqp::open(&hub);
    peer.put_token(&token(&hub));
    let before = hub.resident_kib();
    for credit in [0, 1, u32::MAX, 5] {
        for _ in 0..20 {
            peer.send_bytes(&encode(0, RawAmqp::credit_frame(1, credit), &[]).repeat(500));
        }
    }
    // A drain takes all of it back.
    peer.send(0, Flow { drain: true, ..RawAmqp::credit_frame(1, 1000) });
    let frame = peer.expect("amqp:flow:list");
    let Performative::Flow(flow) = frame.performative() else { unreachable!() };
    assert_eq!((flow.handle, flow.link_credit, flow.drain), (Some(1), Some(0), true));
    let grown = hub.resident_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB");
    peer.attach_messages(2);
}

#[test]
fn sessions_and_links_that_come_and_go_leave_nothing() {
    let hub = Hub::start();
    let mut peer = RawAmqp::open(&hub);
    peer.put_token(&token(&hub));
    let turn = |peer: &mut RawAmqp, turns: usize| {
        for _ in 0..turns {
            let mut bytes = encode(1, RawAmqp::begin_frame(), &[]);
            for handle in 0..5 {
                let name = handle.to_string();
                bytes.extend_from_slice(&encode(1, RawAmqp::receiver_frame(&name, handle, "$cbs"), &[]));
            }
            bytes.extend_from_slice(&encode(1, End::default(), &[]));
            peer.send_bytes(&bytes);
            let _ = peer.expect("amqp:end:list");
        }
    };
    turn(&mut peer, 100);
    let before = hub.resident_kib();
    turn(&mut peer, 1000);
    let grown = hub.resident_kib().saturating_sub(before);
    assert!(grown < 2 * 1024, "{grown} KiB");
}

#[test]
fn a_token_for_another_hub_proves_nothing_and_the_host_in_addresses_is_not_compared() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let connection_string = hub.variable("IOTHUB_SERVICE_CONNECTION_STRING");
    let (_, key) = connection_string.split_once("SharedAccessKey=").unwrap();
    let expiry = sas::now() + 60;
    let mut client = AmqpClient::connect(&hub);
    let of =
        |resource: &str, policy: &'static str| Token { resource, key, expiry, policy: Some(policy) }.sign();
    for foreign in [
        of("other.hub", "service"),
        of("", "service"),
        of(&format!("{}.evil", hub.name()), "service"),
        of(&format!("{}/devices/dev1", hub.name()), "service"),
        of(hub.name(), "iothubowner"),
        of(hub.name(), "none"),
    ] {
        assert_eq!(client.put_token(&foreign), 401, "{foreign}");
    }
    assert_eq!(client.put_token(&of(hub.name(), "service")), 200);
    let link = client.attach_sender("amqps://other.hub:1/messages/devicebound").unwrap();
    client.send(link, TO, b"x").unwrap();
}

#[test]
fn half_open_connections_at_every_stage_are_evicted_for_new_ones() {
    let hub = Hub::builder().config("[limits]\nunauthenticated_connections = 300").start();
    let mut held = Vec::new();
    let mut proven = AmqpClient::connect(&hub);
    assert_eq!(proven.put_token(&token(&hub)), 200);
    for number in 0..400 {
        let mut peer = RawAmqp::connect(&hub);
        match number % 4 {
            0 => {}
            1 => peer.send_bytes(b"AMQP\x03\x01"),
            2 => {
                peer.send_bytes(&ProtocolHeader::Sasl.to_bytes());
                peer.send_sasl_init("MSSBCBS", b"");
                peer.send_bytes(b"AMQP\x00\x01\x00\x00\0\0\x20\0");
            }
            _ => {
                peer = RawAmqp::open(&hub);
                peer.send(0, RawAmqp::sender_frame("to", 0, "$cbs"));
            }
        }
        held.push(peer);
    }
    assert!(hub.metric("ferrohub_rejected_sockets_total", "outcome=\"evicted\"") >= 100.0);
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    client.attach_sender("/messages/devicebound").unwrap();
    proven.attach_sender("/messages/devicebound").unwrap();
}

/// With the default limit. Some have sent nothing, some the begin of a TLS handshake, and each hundredth has completed it.
#[test]
fn heavy_ten_thousand_half_open_connections_leave_room_for_a_client() {
    let hub = Hub::start();
    let mut proven = AmqpClient::connect(&hub);
    assert_eq!(proven.put_token(&token(&hub)), 200);
    let before = hub.resident_kib();
    let (mut sockets, mut handshakes) = (Vec::new(), Vec::new());
    for number in 0..10_000 {
        if number % 100 == 0 {
            handshakes.push(RawAmqp::connect(&hub));
            continue;
        }
        let mut socket = TcpStream::connect((hub.name(), 5671)).unwrap();
        if number % 2 == 0 {
            // The hub may have evicted it already.
            let _ = socket.write_all(b"\x16\x03\x01\x02\x00\x01");
        }
        sockets.push(socket);
    }
    let grown = hub.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert!(hub.metric("ferrohub_rejected_sockets_total", "outcome=\"evicted\"") >= 7000.0);
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    client.attach_sender("/messages/devicebound").unwrap();
    proven.attach_sender("/messages/devicebound").unwrap();
}

#[test]
fn a_token_of_the_largest_size_is_read_and_a_larger_one_is_not() {
    let hub = Hub::start();
    let mut peer = RawAmqp::open(&hub);
    peer.send(0, RawAmqp::sender_frame("to", 0, "$cbs"));
    peer.send(0, RawAmqp::receiver_frame("from", 1, "$cbs"));
    peer.send(0, RawAmqp::credit_frame(1, 10));
    let _ = peer.expect("amqp:attach:list");
    let _ = peer.expect("amqp:attach:list");
    // As large as a JWT with many groups.
    peer.transfer(0, 0, &token_request(&format!("Bearer {}", "x".repeat(14_000))), false);
    let _ = peer.expect("amqp:transfer:list");
    peer.transfer(0, 1, &token_request(&"x".repeat(17_000)), false);
    peer.read_to_end();
    wait_for_reason(&hub, "amqp_protocol_error", 1.0);
}
