//! The network may split a stream anywhere: events, responses and errors do not depend on the split.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use ferrohub_mqtt::{Connect, Packet, ProtocolError, client, server};
use proptest::{collection::vec, prelude::*};

use crate::packets::{client_packet, connect, corrupted_bytes, packet, stream};

type Outcome<E> = (Vec<E>, Vec<u8>, Result<(), ProtocolError>);

fn run_server<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Outcome<server::Event> {
    let now = Instant::now();
    let config = server::Config { max_buffered_input: 1024 * 1024, ..server::Config::default() };
    let mut server = server::Connection::new(Arc::new(config), now);
    let mut events = Vec::new();
    let mut result = Ok(());
    for chunk in chunks {
        result = result.and(server.handle_input(chunk, now));
        while let Some(event) = server.poll_event() {
            if matches!(event, server::Event::Connect(_)) {
                result = result.and(server.accept(false, now));
            }
            events.push(event);
        }
    }
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    (events, out.to_vec(), result)
}

fn run_client<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Outcome<client::Event> {
    let now = Instant::now();
    // An automatic PUBACK is sent when an event is polled, unless the connection has been closed by then, which
    // depends on the split. So turn it off.
    let config = client::Config { auto_puback: false, ..client::Config::default() };
    let session = client::Session::default();
    let mut client =
        client::Connection::connect(Arc::new(config), &Connect::default(), session, now).unwrap();
    let mut events = Vec::new();
    let mut result = Ok(());
    for chunk in chunks {
        result = result.and(client.handle_input(chunk, now));
        events.extend(std::iter::from_fn(|| client.poll_event()));
    }
    let mut out = BytesMut::new();
    client.poll_transmit(&mut out);
    (events, out.to_vec(), result)
}

/// Splits `bytes` into chunks of these sizes, repeated; a chunk may be empty.
fn chunks<'a>(bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    sizes.iter().cycle().map_while(move |&size| {
        let (chunk, tail) = rest.split_at(size.min(rest.len()));
        let more = !rest.is_empty();
        rest = tail;
        more.then_some(chunk)
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        vec(0..20_usize, 0..6).prop_map(|mut sizes| {
            sizes.push(7);
            sizes
        })
    ]
}

proptest! {
    #[test]
    fn server_results_do_not_depend_on_the_split(
        connect in connect(), packets in vec(client_packet(), 0..8), end in corrupted_bytes(), sizes in sizes(),
    ) {
        let mut bytes = stream(&[Packet::Connect(Box::new(connect))]);
        bytes.extend(stream(&packets));
        let whole = run_server(std::iter::once(&bytes[..]));
        prop_assert_eq!(whole.2, Ok(()));
        prop_assert_eq!(run_server(chunks(&bytes, &sizes)), whole);

        bytes.extend(end);
        prop_assert_eq!(run_server(chunks(&bytes, &sizes)), run_server(std::iter::once(&bytes[..])));
    }

    #[test]
    fn client_results_do_not_depend_on_the_split(
        packets in vec(packet(), 0..6), end in corrupted_bytes(), sizes in sizes(),
    ) {
        let mut bytes = b"\x20\x02\x00\x00".to_vec();
        bytes.extend(stream(&packets));
        bytes.extend(end);
        prop_assert_eq!(run_client(chunks(&bytes, &sizes)), run_client(std::iter::once(&bytes[..])));
    }
}
