//! A client and a server together: connections, links and their ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use ferrohub_amqp::{
    Config, Connection, Credentials, Event, Outbound, ProtocolError, SendError,
    performative::{AmqpError, Outcome, Role, SaslCode},
};

use crate::pair::{Pair, attach, payloads};

fn plain() -> Option<Credentials> {
    Some(Credentials { mechanism: "PLAIN", response: Some(Bytes::from_static(b"\0user\0password")) })
}

#[test]
fn a_client_opens_sends_and_closes() {
    for credentials in [None, plain()] {
        let mut pair = Pair::new(Config::default(), Config::default(), credentials.clone());
        pair.drive();
        let session = pair.session();
        let link = pair.sender(session);
        let message = Outbound { tag: b"1", payload: b"hello", ..Outbound::default() };
        let delivery = pair.client.send(link, &message).unwrap();
        pair.drive();
        pair.client.detach(link, None).unwrap();
        pair.client.end(session, None).unwrap();
        pair.client.close(None).unwrap();
        pair.drive();

        assert_eq!(payloads(&pair.server_events), [b"hello"]);
        let [
            Event::Open(_),
            Event::Begin(begun),
            Event::Attach { link: attached, .. },
            Event::Credit { link: credited, credit: 10, drain: false },
            Event::Outcome { delivery: settled, outcome: Some(Outcome::Accepted), settled: true, .. },
            // Nothing is processed after our close but the peer's.
            Event::Close { error: None },
        ] = &pair.client_events[..]
        else {
            panic!("{:?}", pair.client_events)
        };
        assert_eq!((*begun, *attached, *credited, *settled), (session, link, link, delivery));
        let sasl = pair.server_events.iter().find_map(|event| match event {
            Event::SaslInit(init) => init.get().initial_response.map(<[u8]>::to_vec),
            _ => None,
        });
        assert_eq!(
            sasl,
            credentials.and_then(|credentials| credentials.response).map(|bytes| bytes.to_vec())
        );
        let ends = pair.server_events.iter().rev().take(3).rev().collect::<Vec<_>>();
        assert!(
            matches!(ends[..], [Event::Detach { .. }, Event::End { .. }, Event::Close { .. }]),
            "{ends:?}"
        );
        assert_eq!((pair.client_error, pair.server_error), (None, None));
        assert!(pair.client.is_closed() && pair.server.is_closed());
        assert_eq!((pair.client.poll_timeout(), pair.server.poll_timeout()), (None, None));
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_events() {
    let run = |chunk| {
        let mut pair = Pair::new(Config::default(), Config::default(), plain());
        pair.chunk = chunk;
        let payload = vec![7; 3000];
        pair.drive();
        let session = pair.session();
        let link = pair.sender(session);
        for settled in [false, true] {
            pair.client.send(link, &Outbound { settled, payload: &payload, ..Outbound::default() }).unwrap();
            pair.drive();
        }
        pair.client.close(None).unwrap();
        pair.drive();
        (pair.client_events, pair.server_events)
    };
    assert_eq!(run(1), run(16 * 1024));
}

#[test]
fn a_sasl_refusal_closes_both_ends() {
    let mut pair = Pair::new(Config::default(), Config::default(), plain());
    pair.application.sasl = Some(SaslCode::Auth);
    pair.drive();
    assert_eq!(pair.client_events, [Event::SaslRefused(SaslCode::Auth)]);
    assert!(pair.client.is_closed() && pair.server.is_closed() && !pair.step());
}

#[test]
fn a_mechanism_that_is_not_offered_is_not_used() {
    let server = Config { sasl_mechanisms: &["EXTERNAL"], ..Config::default() };
    let mut pair = Pair::new(Config::default(), server, plain());
    pair.drive();
    assert_eq!(pair.client_events, [Event::SaslRefused(SaslCode::Auth)]);
}

#[test]
fn a_refused_link_has_neither_source_nor_target_and_is_detached_with_the_error() {
    let mut pair = Pair::open(Config::default(), Config::default());
    pair.application.grant = None;
    let session = pair.session();
    let link = pair.sender(session);
    let [Event::Begin(_), Event::Attach { attach, .. }, Event::Detach { link: detached, error: Some(error) }] =
        &pair.client_events[..]
    else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!((attach.get().source, attach.get().target), (None, None));
    assert_eq!(attach.get().max_message_size, Some(0));
    assert_eq!((*detached, error.get().condition.0), (link, "amqp:not-found"));
    assert_eq!(pair.client.send(link, &Outbound::default()), Err(SendError::Detached));
    // The handle is free again on both sides.
    pair.application.grant = Some(ferrohub_amqp::Grant { credit: 1, ..Default::default() });
    let again = pair.sender(session);
    assert_ne!(again, link);
    assert!(pair.client.send(again, &Outbound::default()).is_ok());
    assert_eq!(pair.client.send(link, &Outbound::default()), Err(SendError::Detached));
}

#[test]
fn a_server_detaches_a_link_with_a_reason_and_the_others_go_on() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.session();
    let (first, detached) = pair.receiver(session, 5);
    let other = pair.sender(session);
    pair.forget_events();
    let error = AmqpError::new("amqp:link:stolen").with_description("a newer reader");
    pair.server.detach(detached, Some(&error)).unwrap();
    pair.client.send(other, &Outbound::default()).unwrap();
    pair.drive();
    let [Event::Detach { link, error: Some(error) }, Event::Outcome { .. }] = &pair.client_events[..] else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!((*link, error.get().description), (first, Some("a newer reader")));
    let answers = pair
        .server_events
        .iter()
        .filter(|event| matches!(event, Event::Detach { link, .. } if *link == detached));
    assert_eq!(answers.count(), 1);
    assert_eq!(pair.server.detach(detached, None), Err(SendError::Detached));
}

#[test]
fn a_link_that_is_detached_before_its_answer_arrives_ends_quietly() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.session();
    pair.forget_events();
    let link = pair.client.attach(session, &attach("x", Role::Receiver), 5).unwrap();
    pair.client.detach(link, None).unwrap();
    pair.drive();
    assert!(matches!(&pair.client_events[..], [Event::Detach { link: ended, .. }] if *ended == link));
    assert!(matches!(&pair.server_events[..], [Event::Attach { .. }, Event::Detach { .. }]));
    // The same name and handle can be used again.
    let (again, _) = pair.receiver(session, 5);
    assert!(pair.client.is_open() && again != link);
}

#[test]
fn a_session_that_ends_takes_its_links_with_it() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let (first, second) = (pair.session(), pair.session());
    let (a, b) = (pair.sender(first), pair.sender(second));
    let Some(Event::Begin(theirs)) = pair.server_events.first() else { panic!() };
    let theirs = *theirs;
    let error = AmqpError::new("amqp:unauthorized-access");
    pair.server.end(theirs, Some(&error)).unwrap();
    pair.drive();
    let ended = pair.client_events.iter().any(|event| match event {
        Event::End { session, error: Some(error) } => {
            *session == first && error.get().condition.0 == "amqp:unauthorized-access"
        }
        _ => false,
    });
    assert!(ended);
    assert_eq!(pair.client.send(a, &Outbound::default()), Err(SendError::Detached));
    assert!(pair.client.send(b, &Outbound::default()).is_ok());
    // The channel is free again.
    assert_eq!(pair.client.attach(first, &attach("x", Role::Sender), 0), Err(SendError::Ended));
    let again = pair.session();
    assert!(again != first && pair.client.attach(again, &attach("x", Role::Sender), 0).is_ok());
}

#[test]
fn a_session_that_is_ended_before_its_answer_arrives_ends_quietly() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.client.begin().unwrap();
    pair.client.attach(session, &attach("x", Role::Sender), 0).unwrap();
    pair.client.end(session, None).unwrap();
    pair.drive();
    assert!(
        matches!(&pair.client_events[..], [Event::End { session: ended, error: None }] if *ended == session)
    );
    assert!(matches!(&pair.server_events[..], [Event::Begin(_), Event::Attach { .. }, Event::End { .. }]));
    assert!(pair.to_server.is_empty(), "{:02x?}", pair.to_server);
    assert_ne!(pair.session(), session);
}

#[test]
fn an_idle_connection_only_sends_heartbeats() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let week = Duration::from_secs(7 * 24 * 3600);
    let mut steps = 0;
    while pair.elapsed() < week {
        assert!(pair.step());
        assert_eq!(&pair.to_client[..], b"\0\0\0\x08\x02\0\0\0");
        steps += 1;
    }
    // Each side announces 240 s, so the other sends every 120 s; both do it at the same time.
    assert_eq!(steps, week.as_secs() / 120);
    assert!(pair.client.is_open() && pair.server.is_open());
    assert_eq!((pair.client_events, pair.server_events), (vec![], vec![]));
}

#[test]
fn a_peer_that_sends_nothing_is_given_up_after_twice_the_idle_time_out() {
    let mut pair = Pair::open(Config::default(), Config::default());
    pair.network_down = true;
    while pair.step() {}
    assert_eq!(pair.client_error, Some(ProtocolError::IdleTimeout));
    assert_eq!(pair.server_error, Some(ProtocolError::IdleTimeout));
    assert_eq!(pair.elapsed(), Duration::from_secs(480));
}

#[test]
fn a_slow_handshake_does_not_shorten_the_idle_time_out() {
    let mut pair = Pair::new(Config::default(), Config::default(), plain());
    pair.now += Duration::from_secs(59);
    pair.drive();
    assert!(pair.client.is_open() && pair.server.is_open());
    pair.network_down = true;
    let mut expired = [None; 2];
    while pair.step() {
        for (expired, error) in expired.iter_mut().zip([pair.client_error, pair.server_error]) {
            if error == Some(ProtocolError::IdleTimeout) {
                expired.get_or_insert(pair.elapsed());
            }
        }
    }
    assert_eq!(expired, [Some(Duration::from_secs(59 + 480)); 2]);
}

#[test]
fn a_side_that_sends_anyway_sends_no_heartbeats() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.session();
    let (_, link) = pair.receiver(session, 100);
    let message = Outbound { settled: true, payload: b"x", ..Outbound::default() };
    for _ in 0..21 {
        pair.now += Duration::from_secs(100);
        pair.client.handle_timeout(pair.now).unwrap();
        pair.server.handle_timeout(pair.now).unwrap();
        // A driver has told the time before: it was woken for something.
        pair.server.send(link, &message).unwrap();
        pair.drive();
    }
    // Half of the announced 240 s never pass without a message of the server. The client has heartbeats to send.
    let Some(next) = pair.server.poll_timeout() else { panic!() };
    assert_eq!(next - pair.now, Duration::from_secs(120));
    assert_eq!(payloads(&pair.client_events).len(), 21);
}

#[test]
fn a_client_that_is_not_authenticated_in_time_is_given_up() {
    let now = Instant::now();
    let mut server = Connection::accept(Arc::default(), now);
    let mut client = Connection::connect(Arc::default(), None, now);
    let mut bytes = BytesMut::new();
    client.poll_transmit(&mut bytes);
    server.handle_input(&bytes, now).unwrap();
    assert!(server.is_open());
    // Heartbeats do not help.
    let heartbeat = b"\0\0\0\x08\x02\0\0\0";
    server.handle_input(heartbeat, now + Duration::from_secs(59)).unwrap();
    let timeout = now + Duration::from_secs(60);
    assert_eq!(server.poll_timeout(), Some(timeout));
    assert_eq!(server.handle_timeout(timeout), Err(ProtocolError::HandshakeTimeout));
}

#[test]
fn both_ends_time_out_if_no_bytes_arrive() {
    let mut pair = Pair::new(Config::default(), Config::default(), plain());
    pair.network_down = true;
    while pair.step() {}
    assert_eq!(pair.client_error, Some(ProtocolError::HandshakeTimeout));
    assert_eq!(pair.server_error, Some(ProtocolError::HandshakeTimeout));
    assert_eq!(pair.elapsed(), Duration::from_secs(60));
}
