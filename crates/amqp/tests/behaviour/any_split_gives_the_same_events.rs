//! The network may split a stream anywhere: events and output do not depend on the split.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use ferrohub_amqp::{Connection, Event, Grant, performative::DeliveryState};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::captures::{self, From, Line};

/// The events as text, because an application uses them up, and the output.
type Outcome = (Vec<String>, BytesMut);

/// Passes in what the client of a capture sent, with an application that accepts everything.
fn run(lines: &[Line], sizes: &[usize]) -> Outcome {
    let now = Instant::now();
    let mut server = Connection::accept(Arc::default(), now);
    let (mut events, mut out) = (Vec::new(), BytesMut::new());
    let mut sizes = sizes.iter().cycle();
    for line in lines.iter().filter(|line| line.from == From::Client) {
        let mut rest = &line.bytes[..];
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            rest = tail;
            if let Err(error) = server.handle_input(piece, now) {
                events.push(error.to_string());
            }
            while let Some(event) = server.poll_event() {
                events.push(format!("{event:?}"));
                answer(&mut server, event);
            }
            server.poll_transmit(&mut out);
        }
    }
    (events, out)
}

fn answer(server: &mut Connection, event: Event) {
    match event {
        Event::SaslInit(_) => server.accept_sasl().unwrap(),
        Event::Open(_) => server.set_authenticated(),
        Event::Attach { link, .. } => {
            let grant = Grant { credit: 1000, ..Grant::default() };
            server.accept_link(link, &grant).unwrap();
        }
        Event::Delivery(delivery) => {
            if let Some(unsettled) = delivery.unsettled {
                server.settle(unsettled, &DeliveryState::Accepted).unwrap();
            }
        }
        _ => {}
    }
}

fn sections() -> Vec<Vec<Line>> {
    captures::all().into_iter().flat_map(|capture| capture.sections).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn captured_sessions_do_not_depend_on_the_split(section in any::<Index>(), sizes in vec(1..40_usize, 1..6)) {
        let sections = sections();
        let section = section.get(&sections);
        prop_assert_eq!(run(section, &sizes), run(section, &[usize::MAX]));
    }
}

#[test]
fn captured_sessions_do_not_depend_on_single_bytes() {
    for section in sections() {
        assert_eq!(run(&section, &[1]), run(&section, &[usize::MAX]), "{}", section[0].place);
    }
}
