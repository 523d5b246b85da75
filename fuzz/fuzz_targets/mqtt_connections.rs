//! Fuzzes the MQTT state machines of server and client with bytes in chunks. The first byte of the input is the size of
//! the chunks, the second selects the state of the connections.
#![no_main]

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use ferrohub_mqtt::{Connect, QoS, client, server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(([size, state], input)) = input.split_first_chunk() else {
        return;
    };
    let size = usize::from(*size).max(1);
    let connected = state % 2 == 1;
    let now = Instant::now();
    let mut out = BytesMut::new();

    let mut server = server::Connection::new(Arc::default(), now);
    if connected {
        server.handle_input(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d1", now).unwrap();
        server.accept(false, now).unwrap();
        server.publish("a", QoS::AtLeastOnce, b"").unwrap();
    }
    for chunk in input.chunks(size) {
        let mut ended = server.handle_input(chunk, now).is_err();
        while let Some(event) = server.poll_event() {
            match event {
                server::Event::Connect(_) => ended |= server.accept(false, now).is_err(),
                server::Event::Publish(publish) => {
                    publish.packet_id.into_iter().for_each(|packet_id| server.puback(packet_id))
                }
                _ => {}
            }
        }
        server.poll_transmit(&mut out);
        assert!(!ended || server.is_closed());
    }

    let session = client::Session::default();
    let mut client = client::Connection::connect(Arc::default(), &Connect::default(), session, now).unwrap();
    if connected {
        client.handle_input(b"\x20\x02\x00\x00", now).unwrap();
        client.subscribe(&[("a", QoS::AtMostOnce)]).unwrap();
        client.unsubscribe(&["a"]).unwrap();
        client.publish("a", QoS::AtLeastOnce, Bytes::new()).unwrap();
    }
    for chunk in input.chunks(size) {
        let ended = client.handle_input(chunk, now).is_err();
        while client.poll_event().is_some() {}
        client.poll_transmit(&mut out);
        assert!(!ended || client.is_closed());
    }
});
