//! What flows, dispositions and detaches of real clients mean, frame by frame.

use ferrohub_amqp::{
    Config, Connection, Event, Grant, LinkId, Outbound,
    performative::{Attach, DeliveryState, Detach, Disposition, Flow, Performative, Role},
};

use crate::{
    pair::attach,
    raw::{begin, frame, open_server, performatives, sent},
};

const GRANT: Grant = Grant { credit: 10, max_message_size: 0, snd_settle_mode: None };

/// A server that sends on handle 0 with five credits.
fn sending_server() -> (Connection, std::time::Instant, LinkId) {
    let (mut server, now) = open_server(Config::default());
    let input = [frame(0, begin()), frame(0, attach("r", Role::Receiver)), frame(0, flow(0, 5))].concat();
    server.handle_input(&input, now).unwrap();
    let link = loop {
        if let Some(Event::Attach { link, .. }) = server.poll_event() {
            break link;
        }
    };
    server.accept_link(link, &GRANT).unwrap();
    assert_eq!(server.poll_event(), Some(Event::Credit { link, credit: 5, drain: false }));
    sent(&mut server);
    (server, now, link)
}

fn flow(delivery_count: u32, link_credit: u32) -> Flow<'static> {
    Flow {
        next_incoming_id: Some(1),
        incoming_window: 1000,
        handle: Some(0),
        delivery_count: Some(delivery_count),
        link_credit: Some(link_credit),
        ..Flow::default()
    }
}

fn flows(server: &mut Connection) -> Vec<(Option<u32>, Option<u32>, Option<u32>)> {
    let bytes = sent(server);
    let flows = performatives(&bytes).into_iter().map(|(_, performative)| match performative {
        Performative::Flow(flow) => (flow.handle, flow.delivery_count, flow.link_credit),
        other => panic!("{other:?}"),
    });
    flows.collect()
}

#[test]
fn credit_counts_from_what_the_receiver_has_seen() {
    let (mut server, now, link) = sending_server();
    for _ in 0..3 {
        server.send(link, &Outbound::default()).unwrap();
    }
    assert_eq!(server.credit(link), 2);
    // The receiver had seen one message when it wrote this: two of its five credits are used already.
    server.handle_input(&frame(0, flow(1, 5)), now).unwrap();
    assert_eq!(server.credit(link), 3);
    // Go gives one credit at a time, and none until it has seen everything.
    server.handle_input(&frame(0, flow(2, 1)), now).unwrap();
    assert_eq!(server.credit(link), 0);
    server.handle_input(&frame(0, flow(3, 1)), now).unwrap();
    assert_eq!(server.credit(link), 1);
}

#[test]
fn the_senders_initial_delivery_count_is_where_credit_begins() {
    let (mut server, now) = open_server(Config::default());
    let attach = Attach { initial_delivery_count: Some(u32::MAX), ..attach("s", Role::Sender) };
    server.handle_input(&[frame(0, begin()), frame(0, attach)].concat(), now).unwrap();
    let _ = server.poll_event();
    let Some(Event::Attach { link, .. }) = server.poll_event() else { panic!() };
    sent(&mut server);
    server.accept_link(link, &GRANT).unwrap();
    let bytes = sent(&mut server);
    let [(0, Performative::Attach(_)), (0, Performative::Flow(flow))] = &performatives(&bytes)[..] else {
        panic!()
    };
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(u32::MAX), Some(10)));
}

#[test]
fn an_echo_is_answered_for_the_link_or_for_the_session() {
    let (mut server, now, _) = sending_server();
    server.handle_input(&frame(0, Flow { echo: true, ..flow(0, 7) }), now).unwrap();
    assert_eq!(flows(&mut server), [(Some(0), Some(0), Some(7))]);
    let session = Flow { next_incoming_id: Some(1), incoming_window: 9, echo: true, ..Flow::default() };
    server.handle_input(&frame(0, session), now).unwrap();
    assert_eq!(flows(&mut server), [(None, None, None)]);
    server.handle_input(&frame(0, flow(0, 7)), now).unwrap();
    assert_eq!(flows(&mut server), []);
}

#[test]
fn an_echo_for_a_link_that_is_not_accepted_yet_names_no_handle() {
    let (mut server, now) = open_server(Config::default());
    let echo = Flow { echo: true, ..flow(0, 7) };
    let input = [frame(0, begin()), frame(0, attach("r", Role::Receiver))].concat();
    server.handle_input(&input, now).unwrap();
    sent(&mut server);
    server.handle_input(&frame(0, echo), now).unwrap();
    assert_eq!(flows(&mut server), [(None, None, None)]);
}

#[test]
fn a_flow_of_a_sender_gives_it_no_credit() {
    // pyamqp writes a credit of 10000 for links on which it sends.
    let (mut server, now) = open_server(Config::default());
    server.handle_input(&[frame(0, begin()), frame(0, attach("s", Role::Sender))].concat(), now).unwrap();
    let _ = server.poll_event();
    let Some(Event::Attach { link, .. }) = server.poll_event() else { panic!() };
    server.accept_link(link, &GRANT).unwrap();
    server.handle_input(&frame(0, flow(0, 10_000)), now).unwrap();
    assert_eq!((server.poll_event(), server.credit(link)), (None, 10));
}

#[test]
fn a_disposition_of_a_sender_does_not_settle_what_we_sent() {
    let (mut server, now, link) = sending_server();
    let delivery = server.send(link, &Outbound::default()).unwrap();
    let theirs = |role| Disposition {
        role,
        settled: true,
        state: Some(DeliveryState::Accepted),
        ..Disposition::default()
    };
    server.handle_input(&frame(0, theirs(Role::Sender)), now).unwrap();
    assert_eq!(server.poll_event(), None);
    server.handle_input(&frame(0, theirs(Role::Receiver)), now).unwrap();
    assert!(
        matches!(server.poll_event(), Some(Event::Outcome { delivery: settled, .. }) if settled == delivery)
    );
    // C settles also what was sent settled.
    server.send(link, &Outbound { settled: true, ..Outbound::default() }).unwrap();
    let again = Disposition { first: 1, ..theirs(Role::Receiver) };
    server.handle_input(&frame(0, again), now).unwrap();
    assert_eq!(server.poll_event(), None);
}

#[test]
fn a_detach_is_answered_as_it_came() {
    for closed in [true, false] {
        let (mut server, now, _) = sending_server();
        server.handle_input(&frame(0, Detach { handle: 0, closed, error: None }), now).unwrap();
        let bytes = sent(&mut server);
        let [(0, Performative::Detach(answer))] = &performatives(&bytes)[..] else { panic!() };
        assert_eq!((answer.handle, answer.closed, answer.error), (0, closed, None));
    }
}
