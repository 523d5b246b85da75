//! Fuzzes the AMQP state machine: hostile bytes, in pieces, before and after the handshake, to a server and to a client,
//! with an application that accepts and settles everything. The connection never panics, stays within its limits, and
//! owns nothing once it is closed.
#![no_main]

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use bytes::BytesMut;
use ferrohub_amqp::{
    Config, Connection, Credentials, Event, Grant, Outbound, Unauthenticated,
    frame::{self, FrameType, ProtocolHeader},
    performative::{Attach, Begin, DeliveryState, Open, Performative, Role, Source, Target},
};
use libfuzzer_sys::fuzz_target;

/// Answers an event; returns whether the connection has reported an error.
fn answer(connection: &mut Connection, event: Event) -> bool {
    match event {
        Event::SaslInit(_) => return connection.accept_sasl().is_err(),
        Event::Attach { link, attach } => {
            let attach = attach.get();
            let grant = Grant { credit: 3, max_message_size: 300, snd_settle_mode: attach.snd_settle_mode };
            if attach.max_message_size != Some(1) {
                let _ = connection.accept_link(link, &grant);
            }
        }
        Event::Credit { link, drain, .. } => {
            let message = Outbound { tag: b"tag", payload: &[1; 700], ..Outbound::default() };
            let sent = connection.send(link, &message);
            let _ = connection.send(link, &Outbound { settled: true, ..message });
            if drain {
                let _ = connection.drained(link);
            }
            if let Ok(delivery) = sent {
                let _ = connection.settle_sent(link, delivery, &DeliveryState::Released);
            }
        }
        Event::Delivery(delivery) => {
            if let Some(unsettled) = delivery.unsettled {
                let _ = connection.settle(unsettled, &DeliveryState::Accepted);
            }
        }
        _ => {}
    }
    false
}

fn drive(connection: &mut Connection, input: &[u8], size: usize, now: Instant) {
    let mut out = BytesMut::new();
    for chunk in input.chunks(size) {
        let mut failed = connection.handle_input(chunk, now).is_err();
        while let Some(event) = connection.poll_event() {
            failed |= answer(connection, event);
        }
        connection.poll_transmit(&mut out);
        out.clear();
        assert!(!failed || connection.is_closed());
        assert!(connection.heap_size() < 64 * 1024, "{}", connection.heap_size());
        if connection.is_closed() {
            assert_eq!(connection.heap_size(), 0);
            assert_eq!(connection.poll_timeout(), None);
            return;
        }
    }
}

/// Header, open and begin of a client; then an attach in each direction.
static OPENED: LazyLock<BytesMut> = LazyLock::new(|| {
    let mut out = BytesMut::from(&ProtocolHeader::Amqp.to_bytes()[..]);
    let mut frame = |performative: Performative<'_>| {
        frame::encode(&mut out, FrameType::Amqp, 0, |out| performative.encode(out));
    };
    frame(Open { container_id: "x", ..Open::default() }.into());
    frame(Begin { incoming_window: 9, outgoing_window: 9, ..Begin::default() }.into());
    for (handle, (name, role)) in (0..).zip([("s", Role::Sender), ("r", Role::Receiver)]) {
        frame(Attach { name, handle, role, ..Attach::default() }.into());
    }
    out
});

fuzz_target!(|input: &[u8]| {
    let Some(([state, size], input)) = input.split_first_chunk() else {
        return;
    };
    let size = usize::from(*size).max(1);
    let now = Instant::now();
    let limits = Unauthenticated { max_frame_size: 1024, max_input: 8192, max_sessions: 2, max_links: 4 };
    let config = Arc::new(Config {
        max_frame_size: 1024,
        max_sessions: 4,
        max_links: 8,
        incoming_window: 8,
        max_assembly: 500,
        max_unsettled: 2,
        max_transmit: 2000,
        unauthenticated: limits,
        ..Config::default()
    });

    let mut server = Connection::accept(config.clone(), now);
    if state % 2 == 1 {
        drive(&mut server, &OPENED, usize::MAX, now);
        assert!(server.is_open());
    }
    if state % 4 == 3 {
        server.set_authenticated();
    }
    drive(&mut server, input, size, now);

    let credentials = (state & 4 != 0).then_some(Credentials { mechanism: "ANONYMOUS", response: None });
    let mut client = Connection::connect(config, credentials, now);
    if state % 2 == 1 && state & 4 == 0 {
        client.handle_input(&OPENED, now).unwrap();
        while let Some(event) = client.poll_event() {
            answer(&mut client, event);
        }
        let session = client.begin().unwrap();
        for (name, role) in [("a", Role::Sender), ("b", Role::Receiver)] {
            let (source, target) = (Some(Source::default()), Some(Target::default()));
            let attach = Attach { name, role, source, target, ..Attach::default() };
            client.attach(session, &attach, 3).unwrap();
        }
    }
    drive(&mut client, input, size, now);
});
