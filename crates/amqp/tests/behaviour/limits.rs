//! Every limit has a refusal of its own, and what is within the limits goes on.

use std::{sync::Arc, time::Instant};

use ferrohub_amqp::{
    Config, Connection, DecodeError, Event, Grant, Outbound, ProtocolError, SendError, Symbol,
    Unauthenticated,
    frame::ProtocolHeader,
    performative::{
        Attach, Begin, Detach, Disposition, End, Flow, Open, Performative, Role, SaslInit, Transfer,
    },
};

use crate::{
    pair::attach,
    raw::{self, begin, frame, open_server, performatives, sent, server_with_links, transfer},
};

const GRANT: Grant = Grant { credit: 100, max_message_size: 1000, snd_settle_mode: None };

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

/// The condition of the only event, which is the end of a session or a detach.
fn condition(connection: &mut Connection) -> String {
    match &events(connection)[..] {
        [Event::Detach { error: Some(error), .. } | Event::End { error: Some(error), .. }] => {
            error.get().condition.0.to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_over_the_announced_size_closes_the_connection() {
    let (mut server, now) = open_server(Config { max_frame_size: 512, ..Config::default() });
    assert_eq!(server.handle_input(b"\0\0\x02\x00\x02\0\0\0", now), Ok(()));
    let (mut server, now) = open_server(Config { max_frame_size: 512, ..Config::default() });
    let error = ProtocolError::Decode(DecodeError::FrameTooLarge { size: 513, limit: 512 });
    assert_eq!(server.handle_input(b"\0\0\x02\x01", now), Err(error));
    assert!(server.is_closed() && sent(&mut server).is_empty());
}

#[test]
fn an_unauthenticated_client_has_smaller_limits() {
    let now = Instant::now();
    let unauthenticated =
        Unauthenticated { max_frame_size: 1000, max_input: 3000, max_sessions: 1, max_links: 2 };
    let config = Arc::new(Config { unauthenticated, ..Config::default() });
    let opened = || {
        let mut server = Connection::accept(config.clone(), now);
        let open = Open { container_id: "x", ..Open::default() };
        let bytes = [&ProtocolHeader::Amqp.to_bytes()[..], &frame(0, open), &frame(0, begin())].concat();
        server.handle_input(&bytes, now).unwrap();
        assert_eq!(events(&mut server).len(), 2);
        sent(&mut server);
        server
    };
    let error = ProtocolError::Decode(DecodeError::FrameTooLarge { size: 1001, limit: 1000 });
    assert_eq!(opened().handle_input(b"\0\0\x03\xe9", now), Err(error));

    let heartbeats = b"\0\0\0\x08\x02\0\0\0".repeat(400);
    assert_eq!(opened().handle_input(&heartbeats, now), Err(ProtocolError::UnauthenticatedInput));

    let mut server = opened();
    server.handle_input(&frame(1, begin()), now).unwrap();
    let bytes = sent(&mut server);
    assert!(matches!(&performatives(&bytes)[..], [(1, Performative::Begin(_)), (1, Performative::End(_))]));
    for handle in 0..3 {
        let name = handle.to_string();
        server.handle_input(&frame(0, Attach { handle, ..attach(&name, Role::Sender) }), now).unwrap();
    }
    assert_eq!(events(&mut server).len(), 2);
    // A refused link is refused as any other: no source or target, then a detach.
    let bytes = sent(&mut server);
    let [(0, Performative::Attach(answer)), (0, Performative::Detach(detach))] = &performatives(&bytes)[..]
    else {
        panic!()
    };
    assert_eq!((answer.name, answer.source, answer.target, answer.role), ("2", None, None, Role::Receiver));
    assert_eq!(detach.error.unwrap().condition.0, "amqp:resource-limit-exceeded");

    // Authentication lifts the limits.
    server.set_authenticated();
    server.handle_input(&heartbeats, now).unwrap();
    server.handle_input(&frame(1, begin()), now).unwrap();
    server.handle_input(&frame(0, Attach { handle: 3, ..attach("3", Role::Sender) }), now).unwrap();
    assert_eq!(events(&mut server).len(), 2);
}

#[test]
fn input_before_the_sasl_decision_is_held_up_to_a_limit() {
    let now = Instant::now();
    let config = Config { max_buffered_input: 100, ..Config::default() };
    let mut server = Connection::accept(Arc::new(config), now);
    let init = SaslInit { mechanism: Symbol("PLAIN"), ..SaslInit::default() };
    let init = [&ProtocolHeader::Sasl.to_bytes()[..], &raw::sasl_frame(init)].concat();
    server.handle_input(&init, now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::SaslInit(_)]) && !server.wants_read());
    let open = frame(0, Open { container_id: "x", ..Open::default() });
    let early = [&ProtocolHeader::Amqp.to_bytes()[..], &open].concat();
    server.handle_input(&early, now).unwrap();
    assert!(server.peek_event().is_none());
    server.accept_sasl().unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Open(_)]));

    let config = Config { max_buffered_input: 100, ..Config::default() };
    let mut server = Connection::accept(Arc::new(config), now);
    server.handle_input(&init, now).unwrap();
    assert_eq!(server.handle_input(&[0; 101], now), Err(ProtocolError::BufferedInputOverflow));
    assert_eq!(server.accept_sasl(), Ok(()));
    assert!(server.is_closed());
}

#[test]
fn channels_and_sessions_are_limited() {
    let config = || Config { channel_max: 10, max_sessions: 2, ..Config::default() };
    let (mut server, now) = open_server(config());
    for channel in [10, 0] {
        server.handle_input(&frame(channel, begin()), now).unwrap();
    }
    assert_eq!(events(&mut server).len(), 2);
    sent(&mut server);
    server.handle_input(&frame(5, begin()), now).unwrap();
    assert_eq!(events(&mut server), []);
    let bytes = sent(&mut server);
    let [(5, Performative::Begin(_)), (5, Performative::End(End { error: Some(error) }))] =
        &performatives(&bytes)[..]
    else {
        panic!()
    };
    assert_eq!(error.condition.0, "amqp:resource-limit-exceeded");
    // The others do not notice, and an ended session makes room.
    server
        .handle_input(&[frame(5, End::default()), frame(0, End::default()), frame(5, begin())].concat(), now)
        .unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::End { .. }, Event::Begin(_)]));

    assert_eq!(server.handle_input(&frame(5, begin()), now), Err(ProtocolError::Channel(5)));
    let (mut server, now) = open_server(config());
    assert_eq!(server.handle_input(&frame(11, begin()), now), Err(ProtocolError::Channel(11)));
    let (mut server, now) = open_server(config());
    let answer = Begin { remote_channel: Some(3), ..begin() };
    assert_eq!(server.handle_input(&frame(0, answer), now), Err(ProtocolError::Channel(3)));
}

#[test]
fn handles_and_links_are_limited() {
    let config = || Config { handle_max: 7, max_links: 3, ..Config::default() };
    let (mut server, now, _) = server_with_links(config(), 3, &GRANT);
    server.handle_input(&frame(0, Attach { handle: 7, ..attach("x", Role::Receiver) }), now).unwrap();
    let bytes = sent(&mut server);
    let [(0, Performative::Attach(answer)), (0, Performative::Detach(detach))] = &performatives(&bytes)[..]
    else {
        panic!()
    };
    assert_eq!((answer.handle, answer.role, answer.initial_delivery_count), (7, Role::Sender, Some(0)));
    assert_eq!(detach.error.unwrap().condition.0, "amqp:resource-limit-exceeded");
    // A detached link makes room.
    server.handle_input(&frame(0, Detach { handle: 0, closed: true, error: None }), now).unwrap();
    server.handle_input(&frame(0, Attach { handle: 7, ..attach("x", Role::Receiver) }), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Detach { .. }, Event::Attach { .. }]));

    let too_high = frame(0, Attach { handle: 8, ..attach("y", Role::Sender) });
    assert_eq!(server.handle_input(&too_high, now), Err(ProtocolError::Handle(8)));
    let (mut server, now, _) = server_with_links(config(), 1, &GRANT);
    server.handle_input(&frame(0, Attach { handle: 0, ..attach("again", Role::Sender) }), now).unwrap();
    assert_eq!(condition(&mut server), "amqp:session:handle-in-use");
}

#[test]
fn a_message_over_the_links_limit_detaches_the_link() {
    let (mut server, now, _) = server_with_links(Config::default(), 2, &GRANT);
    server.handle_input(&transfer(0, Some(0), false, &[0; 1000]), now).unwrap();
    assert!(
        matches!(&events(&mut server)[..], [Event::Delivery(delivery)] if delivery.payload.len() == 1000)
    );
    server.handle_input(&transfer(0, Some(1), true, &[0; 600]), now).unwrap();
    server.handle_input(&transfer(0, None, false, &[0; 401]), now).unwrap();
    assert_eq!(condition(&mut server), "amqp:link:message-size-exceeded");
    // What the client sent before it knew is ignored, and the other link goes on.
    server.handle_input(&transfer(0, Some(2), false, b"x"), now).unwrap();
    server.handle_input(&frame(0, Detach { handle: 0, closed: true, error: None }), now).unwrap();
    server.handle_input(&transfer(1, Some(3), false, b"y"), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Delivery(delivery)] if delivery.payload == "y"));
}

#[test]
fn bytes_in_assembly_are_limited_over_all_links() {
    let config = Config { max_assembly: 1500, ..Config::default() };
    let (mut server, now, _) = server_with_links(config, 3, &GRANT);
    server.handle_input(&transfer(0, Some(0), true, &[0; 900]), now).unwrap();
    server.handle_input(&transfer(1, Some(1), true, &[0; 600]), now).unwrap();
    server.handle_input(&transfer(2, Some(2), true, &[0; 1]), now).unwrap();
    assert_eq!(condition(&mut server), "amqp:resource-limit-exceeded");
    // A complete, an aborted and a detached delivery make room.
    server.handle_input(&transfer(0, None, false, b""), now).unwrap();
    let aborted = Transfer { handle: 1, aborted: Some(true), ..Transfer::default() };
    server.handle_input(&frame(0, aborted), now).unwrap();
    server.handle_input(&transfer(1, Some(3), true, &[0; 1000]), now).unwrap();
    server.handle_input(&frame(0, Detach { handle: 1, closed: true, error: None }), now).unwrap();
    server.handle_input(&transfer(0, Some(4), true, &[0; 1000]), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Delivery(_), Event::Detach { error: None, .. }]));
    server.handle_input(&frame(0, End::default()), now).unwrap();
}

#[test]
fn a_session_that_ends_makes_room_for_links_and_output() {
    let config = Config { max_links: 1, max_transmit: 1000, ..Config::default() };
    let (mut server, now) = open_server(config);
    let attach = frame(0, Attach { handle: 0, ..attach("r", Role::Receiver) });
    let flow = Flow { next_incoming_id: Some(1), handle: Some(0), link_credit: Some(9), ..Flow::default() };
    for _ in 0..3 {
        server.handle_input(&[frame(0, begin()), attach.clone()].concat(), now).unwrap();
        let Some(Event::Attach { link, .. }) = events(&mut server).pop() else { panic!() };
        server.accept_link(link, &GRANT).unwrap();
        // The flow takes the window away, so that everything waits.
        server.handle_input(&frame(0, flow), now).unwrap();
        sent(&mut server);
        let message = Outbound { payload: &[0; 600], ..Outbound::default() };
        assert!(server.send(link, &message).is_ok() && server.send(link, &message).is_ok());
        assert_eq!(server.send(link, &message), Err(SendError::BufferFull));
        server.handle_input(&frame(0, End::default()), now).unwrap();
        assert!(matches!(events(&mut server).pop(), Some(Event::End { .. })));
    }
}

#[test]
fn a_message_is_settled_if_any_of_its_transfers_says_so() {
    let (mut server, now, _) = server_with_links(Config::default(), 1, &GRANT);
    let first = Transfer { delivery_id: Some(0), settled: Some(true), more: true, ..Transfer::default() };
    server.handle_input(&[frame(0, first), transfer(0, None, false, b"x")].concat(), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Delivery(delivery)] if delivery.unsettled.is_none()));
}

#[test]
fn more_messages_than_credit_detach_the_link() {
    let grant = Grant { credit: 2, ..GRANT };
    let (mut server, now, _) = server_with_links(Config::default(), 1, &grant);
    for id in 0..2 {
        server.handle_input(&transfer(0, Some(id), false, b""), now).unwrap();
    }
    // Nothing is settled, so nothing is renewed. The deliveries keep the right to be settled until they are dropped.
    let kept = events(&mut server);
    assert_eq!(kept.len(), 2);
    server.handle_input(&transfer(0, Some(2), false, b""), now).unwrap();
    assert_eq!(condition(&mut server), "amqp:link:transfer-limit-exceeded");
}

#[test]
fn the_window_is_renewed_before_half_of_it_is_used() {
    let config = Config { incoming_window: 10, ..Config::default() };
    let (mut server, now, _) = server_with_links(config, 1, &GRANT);
    for id in 0..4 {
        server.handle_input(&transfer(0, Some(id), false, b""), now).unwrap();
    }
    assert!(sent(&mut server).is_empty());
    server.handle_input(&transfer(0, Some(4), false, b""), now).unwrap();
    let bytes = sent(&mut server);
    let [(0, Performative::Flow(flow))] = &performatives(&bytes)[..] else { panic!() };
    assert_eq!((flow.next_incoming_id, flow.incoming_window, flow.handle), (Some(5), 10, None));
}

#[test]
fn transfers_that_break_the_rules_end_the_session() {
    let cases = [
        (transfer(5, Some(0), false, b""), "amqp:session:unattached-handle"),
        (transfer(0, None, false, b""), "amqp:invalid-field"),
        (
            frame(0, Transfer { delivery_id: Some(0), delivery_tag: Some(&[0; 33]), ..Transfer::default() }),
            "amqp:invalid-field",
        ),
        ([transfer(0, Some(0), true, b""), transfer(0, Some(1), false, b"")].concat(), "amqp:not-allowed"),
    ];
    for (bytes, expected) in cases {
        let (mut server, now, links) = server_with_links(Config::default(), 1, &GRANT);
        server.handle_input(&bytes, now).unwrap();
        assert_eq!(condition(&mut server), expected);
        let answer = sent(&mut server);
        assert!(matches!(&performatives(&answer)[..], [(0, Performative::End(End { error: Some(_) }))]));
        // The rest of the session is ignored, its channel can be used again, and its links are gone.
        server.handle_input(&transfer(0, Some(2), false, b""), now).unwrap();
        server.handle_input(&[frame(0, End::default()), frame(0, begin())].concat(), now).unwrap();
        assert!(matches!(&events(&mut server)[..], [Event::Begin(_)]));
        assert_eq!(server.detach(links[0], None), Err(SendError::Detached));
    }
}

#[test]
fn a_client_that_does_not_answer_a_detach_or_end_can_use_the_handle_and_channel_again() {
    let (mut server, now, links) = server_with_links(Config::default(), 1, &GRANT);
    let session = server.session_of(links[0]).unwrap();
    server.detach(links[0], None).unwrap();
    assert_eq!(server.session_of(links[0]), None);
    server.handle_input(&frame(0, Attach { handle: 0, ..attach("again", Role::Sender) }), now).unwrap();
    let Some(Event::Attach { link, .. }) = server.poll_event() else { panic!() };
    server.accept_link(link, &GRANT).unwrap();
    server.handle_input(&transfer(0, Some(0), false, b""), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Delivery(delivery)] if delivery.link == link));

    server.end(session, None).unwrap();
    server.handle_input(&frame(0, begin()), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Begin(again)] if *again != session));
}

#[test]
fn what_arrives_for_an_ended_session_or_a_detached_link_is_ignored() {
    let (mut server, now, _) = server_with_links(Config::default(), 1, &GRANT);
    let detach = |handle| frame(0, Detach { handle, closed: true, error: None });
    server.handle_input(&[detach(0), detach(0), detach(77)].concat(), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::Detach { .. }]));
    sent(&mut server);
    let late = [
        frame(0, End::default()),
        detach(0),
        frame(0, Flow::default()),
        frame(0, Disposition::default()),
        frame(0, End::default()),
        frame(7, Flow { echo: true, ..Flow::default() }),
    ];
    server.handle_input(&late.concat(), now).unwrap();
    assert!(matches!(&events(&mut server)[..], [Event::End { .. }]));
    let bytes = sent(&mut server);
    assert!(matches!(&performatives(&bytes)[..], [(0, Performative::End(End { error: None }))]));
}

#[test]
fn unsettled_messages_are_limited() {
    let config = Config { max_unsettled: 2, ..Config::default() };
    let (mut server, now, _) = server_with_links(config, 0, &GRANT);
    server.handle_input(&frame(0, Attach { handle: 0, ..attach("r", Role::Receiver) }), now).unwrap();
    let Some(Event::Attach { link, .. }) = server.poll_event() else { panic!() };
    let credit = |link_credit| Flow {
        next_incoming_id: Some(1),
        incoming_window: 1000,
        handle: Some(0),
        delivery_count: Some(0),
        link_credit: Some(link_credit),
        ..Flow::default()
    };
    // Credit that arrives before the link is accepted counts afterwards.
    server.handle_input(&frame(0, credit(u32::MAX)), now).unwrap();
    assert_eq!(server.send(link, &Outbound::default()), Err(SendError::Detached));
    server.accept_link(link, &GRANT).unwrap();
    assert_eq!(events(&mut server), [Event::Credit { link, credit: u32::MAX, drain: false }]);
    let sent_ids: Vec<_> = (0..2).map(|_| server.send(link, &Outbound::default()).unwrap()).collect();
    assert_eq!(server.send(link, &Outbound::default()), Err(SendError::TooManyUnsettled));
    assert!(server.send(link, &Outbound { settled: true, ..Outbound::default() }).is_ok());
    let settled = Disposition {
        role: Role::Receiver,
        first: 0,
        last: Some(1000),
        settled: true,
        ..Disposition::default()
    };
    server.handle_input(&frame(0, settled), now).unwrap();
    let outcomes: Vec<_> = events(&mut server)
        .into_iter()
        .map(|event| match event {
            Event::Outcome { delivery, outcome: None, settled: true, .. } => delivery,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(outcomes, sent_ids);
    assert!(server.send(link, &Outbound::default()).is_ok());
    assert_eq!(server.send(link, &Outbound { tag: &[0; 33], ..Outbound::default() }), Err(SendError::Tag));
}

#[test]
fn output_is_limited_while_the_window_or_the_transport_is_stalled() {
    let config = Config { max_transmit: 1000, ..Config::default() };
    let (mut server, now) = open_server(config);
    let begin = Begin { incoming_window: 2, ..begin() };
    let attach = Attach { handle: 0, ..attach("r", Role::Receiver) };
    server.handle_input(&[frame(0, begin), frame(0, attach)].concat(), now).unwrap();
    let Some(Event::Attach { link, .. }) = events(&mut server).pop() else { panic!() };
    server.accept_link(link, &GRANT).unwrap();
    let flow = |next_incoming_id, incoming_window| Flow {
        next_incoming_id: Some(next_incoming_id),
        incoming_window,
        handle: Some(0),
        delivery_count: Some(0),
        link_credit: Some(100),
        ..Flow::default()
    };
    server.handle_input(&frame(0, flow(1, 2)), now).unwrap();
    sent(&mut server);
    let message = Outbound { payload: &[7; 400], settled: true, ..Outbound::default() };
    // Two frames go out, three messages wait for the window, then the buffer is full.
    for _ in 0..5 {
        assert!(server.send(link, &message).is_ok());
        sent(&mut server);
    }
    assert_eq!(server.send(link, &message), Err(SendError::BufferFull));
    assert!(server.wants_read());
    server.handle_input(&frame(0, flow(3, 2)), now).unwrap();
    let bytes = sent(&mut server);
    assert_eq!(performatives(&bytes).len(), 2);
    // A transport that takes nothing.
    server.handle_input(&frame(0, flow(5, 1000)), now).unwrap();
    assert!(server.send(link, &message).is_ok() && server.send(link, &message).is_ok());
    assert_eq!(server.send(link, &message), Err(SendError::BufferFull));
    assert!(!server.wants_read());
    sent(&mut server);
    assert!(server.wants_read());
}

#[test]
fn what_waits_for_a_link_is_dropped_with_it() {
    let (mut server, now) = open_server(Config { max_transmit: 1000, ..Config::default() });
    let begin = Begin { incoming_window: 1, ..begin() };
    server.handle_input(&frame(0, begin), now).unwrap();
    let mut links = Vec::new();
    for handle in 0..2 {
        let name = handle.to_string();
        server.handle_input(&frame(0, Attach { handle, ..attach(&name, Role::Receiver) }), now).unwrap();
        let Some(Event::Attach { link, .. }) = events(&mut server).pop() else { panic!() };
        server.accept_link(link, &GRANT).unwrap();
        links.push(link);
        let flow = Flow {
            next_incoming_id: Some(1),
            incoming_window: 1,
            handle: Some(handle),
            link_credit: Some(100),
            ..Flow::default()
        };
        server.handle_input(&frame(0, flow), now).unwrap();
    }
    sent(&mut server);
    let idle = server.heap_size();
    let message = Outbound { payload: &[7; 600], ..Outbound::default() };
    for _ in 0..3 {
        server.send(links[0], &message).unwrap();
        sent(&mut server);
    }
    assert_eq!(server.send(links[1], &message), Err(SendError::BufferFull));
    server.handle_input(&frame(0, Detach { handle: 0, closed: true, error: None }), now).unwrap();
    sent(&mut server);
    assert!(server.heap_size() <= idle);
    assert!(server.send(links[1], &message).is_ok());
    // The first frame was sent before the detach; a disposition for it comes too late and reaches nobody.
    let late =
        Disposition { role: Role::Receiver, first: 0, last: None, settled: true, ..Disposition::default() };
    server.handle_input(&frame(0, late), now).unwrap();
    let left = events(&mut server);
    assert!(matches!(&left[..], [Event::Credit { .. }, Event::Detach { .. }]), "{left:?}");
    // The next message takes the next delivery-id, without a gap for those that were dropped.
    server
        .handle_input(
            &frame(0, Flow { next_incoming_id: Some(2), incoming_window: 9, ..Flow::default() }),
            now,
        )
        .unwrap();
    let bytes = sent(&mut server);
    assert!(matches!(
        &performatives(&bytes)[..],
        [(0, Performative::Transfer(Transfer { delivery_id: Some(1), .. }))]
    ));
}

#[test]
fn another_protocol_is_answered_with_a_header_and_closed() {
    let now = Instant::now();
    for first in [b"GET / HT", b"AMQP\x02\x01\0\0", b"AMQP\0\0\x09\x01", b"\x16\x03\x01\x02\0\x01\0\0"] {
        let mut server = Connection::accept(Arc::default(), now);
        assert_eq!(server.handle_input(first, now), Err(ProtocolError::ProtocolHeader));
        assert_eq!(sent(&mut server), b"AMQP\x03\x01\0\0");
        assert!(server.is_closed() && server.poll_timeout().is_none());
    }
}

#[test]
fn frames_out_of_order_close_the_connection() {
    let open = || frame(0, Open { container_id: "x", ..Open::default() });
    let header = ProtocolHeader::Amqp.to_bytes();
    let refused = |frames: &[&[u8]]| {
        let now = Instant::now();
        let mut server = Connection::accept(Arc::default(), now);
        server.handle_input(&frames.concat(), now).unwrap_err()
    };
    assert_eq!(refused(&[&header, &frame(0, begin())]), ProtocolError::Unexpected("amqp:begin:list"));
    assert_eq!(refused(&[&header, &open(), &open()]), ProtocolError::Unexpected("amqp:open:list"));
    let sasl = raw::sasl_frame(SaslInit { mechanism: Symbol("PLAIN"), ..SaslInit::default() });
    assert_eq!(refused(&[&header, &sasl]), ProtocolError::Decode(DecodeError::UnexpectedFrameType(1)));
    let sasl_header = ProtocolHeader::Sasl.to_bytes();
    assert_eq!(refused(&[&sasl_header, &open()]), ProtocolError::Decode(DecodeError::UnexpectedFrameType(0)));
    let small = frame(0, Open { container_id: "x", max_frame_size: 511, ..Open::default() });
    assert_eq!(refused(&[&header, &small]), ProtocolError::MaxFrameSize(511));
}

#[test]
fn a_text_that_does_not_fit_into_the_peers_frames_is_refused_and_nothing_is_sent() {
    let now = Instant::now();
    let mut server = Connection::accept(Arc::default(), now);
    server.set_authenticated();
    let open = frame(0, Open { container_id: "x", max_frame_size: 512, ..Open::default() });
    let attach = Attach { handle: 0, ..attach("x", Role::Sender) };
    let input = [&ProtocolHeader::Amqp.to_bytes()[..], &open, &frame(0, begin()), &frame(0, attach)].concat();
    server.handle_input(&input, now).unwrap();
    let Some(Event::Attach { link, .. }) = events(&mut server).pop() else { panic!() };
    sent(&mut server);
    let text = "x".repeat(500);
    let error = ferrohub_amqp::performative::AmqpError::new("amqp:not-found");
    assert_eq!(server.refuse_link(link, &error.with_description(&text)), Err(SendError::FrameTooLarge));
    assert!(sent(&mut server).is_empty());
    assert_eq!(server.refuse_link(link, &error), Ok(()));
}
