//! What an idle connection costs.

use ferrohub_amqp::{Config, Connection, Event, Outbound, performative::Role};

use crate::pair::{Pair, attach};

/// A device's connection: one session with links for telemetry, for messages to the device, and one more.
fn device(pair: &mut Pair) {
    let session = pair.session();
    pair.sender(session);
    pair.receiver(session, 50);
    pair.client.attach(session, &attach("methods", Role::Receiver), 10).unwrap();
    pair.drive();
    while pair.server.poll_event().is_some() {}
    while pair.client.poll_event().is_some() {}
}

#[test]
fn an_idle_connection_with_a_session_and_three_links_takes_less_than_a_kibibyte() {
    let mut pair = Pair::open(Config::default(), Config::default());
    assert_eq!(pair.server.heap_size(), 0);
    device(&mut pair);
    let size = size_of::<Connection>() + pair.server.heap_size();
    assert!(size <= 1024, "{} + {} bytes", size_of::<Connection>(), pair.server.heap_size());
}

#[test]
fn traffic_leaves_no_memory_behind() {
    let config = || Config { incoming_window: 4, max_frame_size: 1024, ..Config::default() };
    let mut pair = Pair::open(config(), config());
    device(&mut pair);
    let idle = pair.server.heap_size();
    let session = pair.session();
    let up = pair.sender(session);
    let (_, down) = pair.receiver(session, 10);
    let busy = pair.server.heap_size();
    for _ in 0..20 {
        // Some messages take several frames, and some bytes arrive one by one.
        let payload = vec![1; 10_000];
        pair.client.send(up, &Outbound { payload: &payload, ..Outbound::default() }).unwrap();
        pair.server.send(down, &Outbound { payload: &payload, ..Outbound::default() }).unwrap();
        pair.chunk = 999;
        pair.drive();
        assert_eq!(pair.server.heap_size(), busy);
    }
    assert!(pair.server_events.iter().filter(|event| matches!(event, Event::Delivery(_))).count() == 20);
    pair.client.end(session, None).unwrap();
    pair.drive();
    // The table of sessions does not shrink.
    assert!(pair.server.heap_size() <= idle + 4 * 256, "{} > {idle}", pair.server.heap_size());
    pair.client.close(None).unwrap();
    pair.drive();
    assert_eq!((pair.server.heap_size(), pair.client.heap_size()), (0, 0));
}

#[test]
fn a_connection_can_move_between_threads() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Connection>();
    is_send_and_sync::<Event>();
}
