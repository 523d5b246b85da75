//! A client and a server together: messages, windows, credit and outcomes.

use ferrohub_amqp::{
    Config, Event, Grant, Outbound, SendError,
    performative::{
        AmqpError, DeliveryState, Disposition, Flow, Modified, Outcome, Performative, ReceiverSettleMode,
        Rejected, Role, SenderSettleMode,
    },
};

use crate::{
    pair::{Pair, attach, payloads},
    raw,
};

#[test]
fn a_hundred_thousand_messages_pass_through_windows_and_credit() {
    let config = || Config { incoming_window: 7, ..Config::default() };
    let mut pair = Pair::open(config(), config());
    let session = pair.session();
    let link = pair.sender(session);
    pair.forget_events();
    let mut sent = 0_u32;
    while sent < 100_000 {
        let payload = sent.to_be_bytes();
        match pair.client.send(link, &Outbound { tag: &payload, payload: &payload, ..Outbound::default() }) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, SendError::NoCredit);
                pair.drive();
            }
        }
    }
    pair.drive();
    let received = payloads(&pair.server_events)
        .into_iter()
        .map(|payload| u32::from_be_bytes(payload.try_into().unwrap()));
    assert!(received.eq(0..100_000));
    let accepted = pair.client_events.iter().filter(|event| matches!(event, Event::Outcome { .. })).count();
    assert_eq!(accepted, 100_000);
    assert_eq!((pair.client_error, pair.server_error), (None, None));
}

#[test]
fn a_large_message_travels_in_frames_of_the_peers_size() {
    for max_frame_size in [512, 600, 4096, 65_536] {
        let config = Config { max_frame_size, max_transmit: 1024 * 1024, ..Config::default() };
        let mut pair = Pair::open(config.clone(), Config { incoming_window: 16, ..config });
        let session = pair.session();
        let up = pair.sender(session);
        let (_, down) = pair.receiver(session, 3);
        let payload: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        pair.client.send(up, &Outbound { payload: &payload, ..Outbound::default() }).unwrap();
        pair.server
            .send(down, &Outbound { tag: &[9; 32], payload: &payload, ..Outbound::default() })
            .unwrap();
        pair.client.send(up, &Outbound { payload: b"after", ..Outbound::default() }).unwrap();
        pair.drive();
        assert_eq!(payloads(&pair.server_events), [&payload[..], b"after"]);
        assert_eq!(payloads(&pair.client_events), [&payload[..]]);
        assert_eq!((pair.client_error, pair.server_error), (None, None));
    }
}

#[test]
fn a_message_is_only_sent_with_credit() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.session();
    let (link, server_link) = pair.receiver(session, 2);
    let message = Outbound { tag: b"t", payload: b"x", settled: true, ..Outbound::default() };
    assert_eq!(pair.server.credit(server_link), 2);
    assert!(pair.server.send(server_link, &message).is_ok());
    assert!(pair.server.send(server_link, &message).is_ok());
    assert_eq!(pair.server.send(server_link, &message), Err(SendError::NoCredit));
    // A link on which we receive is not one on which we send.
    assert_eq!(pair.client.send(link, &message), Err(SendError::Detached));
    // The client's machine renews credit for what arrived settled.
    pair.drive();
    assert_eq!(pair.server.credit(server_link), 2);
}

#[test]
fn credit_is_not_renewed_until_messages_are_settled() {
    let mut pair = Pair::open(Config::default(), Config::default());
    pair.application.settles = false;
    let session = pair.session();
    let link = pair.sender(session);
    for _ in 0..10 {
        pair.client.send(link, &Outbound::default()).unwrap();
    }
    pair.drive();
    assert_eq!(pair.client.send(link, &Outbound::default()), Err(SendError::NoCredit));
    let kept: Vec<_> = pair.application.kept.drain(..).collect();
    for (settled, unsettled) in kept.into_iter().enumerate() {
        pair.server.settle(unsettled, &DeliveryState::Accepted).unwrap();
        pair.drive();
        // In steps of half of the grant.
        assert_eq!(
            pair.client.credit(link),
            if settled < 4 {
                0
            } else if settled < 9 {
                5
            } else {
                10
            }
        );
    }
}

#[test]
fn a_sender_can_be_stopped_and_started_again() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.session();
    let link = pair.sender(session);
    let Some(Event::Attach { link: server_link, .. }) = pair.server_events.last() else { panic!() };
    let server_link = *server_link;
    pair.server.set_max_credit(server_link, 0).unwrap();
    for _ in 0..10 {
        pair.client.send(link, &Outbound::default()).unwrap();
    }
    pair.drive();
    assert_eq!(pair.client.credit(link), 0);
    pair.server.set_max_credit(server_link, 3).unwrap();
    pair.drive();
    assert_eq!(pair.client.credit(link), 3);
}

#[test]
fn every_outcome_reaches_the_sender() {
    let mut pair = Pair::open(Config::default(), Config::default());
    pair.application.settles = false;
    let session = pair.session();
    let link = pair.sender(session);
    let error = AmqpError::new("amqp:not-found").with_description("{}");
    let modified = Modified { undeliverable_here: Some(true), ..Modified::default() };
    let states = [
        DeliveryState::Accepted,
        DeliveryState::Rejected(Rejected { error: Some(error) }),
        DeliveryState::Rejected(Rejected { error: None }),
        DeliveryState::Released,
        DeliveryState::Modified(modified),
    ];
    let sent: Vec<_> = states.iter().map(|_| pair.client.send(link, &Outbound::default()).unwrap()).collect();
    pair.drive();
    pair.forget_events();
    // In another order than they were sent.
    let kept: Vec<_> = pair.application.kept.drain(..).collect();
    for (unsettled, state) in kept.into_iter().zip(&states).rev() {
        pair.server.settle(unsettled, state).unwrap();
    }
    pair.drive();
    let outcomes: Vec<_> = pair
        .client_events
        .iter()
        .filter_map(|event| match event {
            Event::Outcome { delivery, outcome, settled: true, .. } => {
                Some((*delivery, outcome.clone().unwrap()))
            }
            _ => None,
        })
        .collect();
    let expected = sent
        .iter()
        .zip(&states)
        .rev()
        .map(|(&delivery, state)| (delivery, Outcome::from_state(state).unwrap()));
    assert_eq!(outcomes, expected.collect::<Vec<_>>());
    let Outcome::Rejected(Some(error)) = &outcomes[3].1 else { panic!() };
    assert_eq!((error.get().condition.0, error.get().description), ("amqp:not-found", Some("{}")));
}

#[test]
fn a_receiver_that_settles_second_waits_for_the_sender() {
    let mut pair = Pair::open(Config::default(), Config::default());
    pair.application.settles = false;
    let session = pair.session();
    let (_, link) = pair.receiver(session, 5);
    let sent = pair.server.send(link, &Outbound { tag: b"lock", ..Outbound::default() }).unwrap();
    pair.drive();
    // Our machine always settles: write the disposition that .NET writes, twice.
    let accepted = raw::frame(
        0,
        Disposition {
            role: Role::Receiver,
            first: 0,
            last: None,
            settled: false,
            state: Some(DeliveryState::Accepted),
            batchable: None,
        },
    );
    pair.server.handle_input(&accepted.repeat(2), pair.now).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| pair.server.poll_event()).collect();
    let [Event::Outcome { delivery, outcome: Some(Outcome::Accepted), settled: false, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*delivery, sent);
    pair.server.settle_sent(link, sent, &DeliveryState::Accepted).unwrap();
    assert_eq!(pair.server.settle_sent(link, sent, &DeliveryState::Accepted), Err(SendError::Detached));
    pair.drive();
    assert!(pair.client.is_open());
}

#[test]
fn a_drained_link_has_no_credit_left() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.session();
    let (_, link) = pair.receiver(session, 5);
    pair.forget_events();
    let flow = Flow {
        next_incoming_id: Some(1),
        incoming_window: 100,
        handle: Some(0),
        delivery_count: Some(0),
        link_credit: Some(5),
        drain: true,
        ..Flow::default()
    };
    pair.server.handle_input(&raw::frame(0, flow), pair.now).unwrap();
    assert_eq!(pair.server.poll_event(), Some(Event::Credit { link, credit: 5, drain: true }));
    pair.server.send(link, &Outbound { settled: true, ..Outbound::default() }).unwrap();
    pair.server.drained(link).unwrap();
    assert_eq!(pair.server.credit(link), 0);
    let sent = raw::sent(&mut pair.server);
    let [(0, Performative::Transfer(_)), (0, Performative::Flow(flow))] = &raw::performatives(&sent)[..]
    else {
        panic!("{sent:02x?}")
    };
    assert_eq!((flow.delivery_count, flow.link_credit, flow.drain), (Some(5), Some(0), true));
}

#[test]
fn links_of_both_directions_share_a_session() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.session();
    let mut links = Vec::new();
    for at in 0..50 {
        let name = format!("link{at}");
        let role = if at % 2 == 0 { Role::Sender } else { Role::Receiver };
        links.push((role, pair.client.attach(session, &attach(&name, role), 1).unwrap()));
    }
    pair.drive();
    let servers: Vec<_> = pair
        .server_events
        .iter()
        .filter_map(|event| match event {
            Event::Attach { link, .. } => Some(*link),
            _ => None,
        })
        .collect();
    pair.forget_events();
    for (&(role, link), &server) in links.iter().zip(&servers) {
        match role {
            Role::Sender => pair.client.send(link, &Outbound::default()).unwrap(),
            Role::Receiver => pair.server.send(server, &Outbound::default()).unwrap(),
        };
    }
    pair.drive();
    assert_eq!((payloads(&pair.server_events).len(), payloads(&pair.client_events).len()), (25, 25));
}

#[test]
fn modes_are_repeated_unless_the_grant_says_otherwise() {
    let mut pair = Pair::open(Config::default(), Config::default());
    pair.application.grant =
        Some(Grant { snd_settle_mode: Some(SenderSettleMode::Settled), ..Grant::default() });
    let session = pair.session();
    let mut asked = attach("events", Role::Receiver);
    asked.rcv_settle_mode = Some(ReceiverSettleMode::Second);
    pair.client.attach(session, &asked, 5).unwrap();
    pair.drive();
    let answer = pair
        .client_events
        .iter()
        .find_map(|event| match event {
            Event::Attach { attach, .. } => Some(attach.clone()),
            _ => None,
        })
        .unwrap();
    let answer = answer.get();
    assert_eq!(answer.snd_settle_mode, Some(SenderSettleMode::Settled));
    assert_eq!(answer.rcv_settle_mode, Some(ReceiverSettleMode::Second));
    assert_eq!((answer.source, answer.target), (asked.source, asked.target));
    assert_eq!((answer.initial_delivery_count, answer.role), (Some(0), Role::Sender));
}
