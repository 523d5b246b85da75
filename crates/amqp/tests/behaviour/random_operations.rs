//! Whatever two applications do, the two ends agree: nobody violates the protocol, messages arrive complete and in order,
//! every message that was sent unsettled gets its outcome or ends with its link, and nothing is left after the close.

use std::collections::HashMap;

use ferrohub_amqp::{
    Config, Connection, DeliveryId, Event, LinkId, Outbound, SendError, SessionId, Unsettled,
    performative::{DeliveryState, Outcome, Role},
};
use proptest::{collection::vec, prelude::*};

use crate::pair::{Pair, attach};

/// What an application does; the numbers choose among what it has.
#[derive(Debug, Clone)]
enum Operation {
    Begin,
    Attach(usize, bool),
    Send { client: bool, link: usize, len: usize, settled: bool },
    Settle { client: bool, message: usize },
    Detach { client: bool, link: usize },
    End(usize),
    Exchange,
}

fn operation() -> impl Strategy<Value = Operation> {
    let len = prop_oneof![4 => 0..50_usize, 1 => 400..3000_usize];
    prop_oneof![
        2 => Just(Operation::Begin),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(session, sends)| Operation::Attach(session, sends)),
        40 => (any::<bool>(), any::<usize>(), len, any::<bool>())
            .prop_map(|(client, link, len, settled)| Operation::Send { client, link, len, settled }),
        20 => (any::<bool>(), any::<usize>()).prop_map(|(client, message)| Operation::Settle { client, message }),
        1 => (any::<bool>(), any::<usize>()).prop_map(|(client, link)| Operation::Detach { client, link }),
        1 => any::<usize>().prop_map(Operation::End),
        20 => Just(Operation::Exchange),
    ]
}

/// What one application knows.
#[derive(Default)]
struct Side {
    links: Vec<LinkId>,
    unsettled: Vec<Unsettled>,
    /// Messages without an outcome yet.
    outstanding: HashMap<DeliveryId, LinkId>,
    received: Vec<(LinkId, u64)>,
    sent: HashMap<LinkId, Vec<u64>>,
}

impl Side {
    fn process(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Attach { link, .. } if !self.links.contains(&link) => self.links.push(link),
                Event::Detach { link, .. } => self.links.retain(|known| *known != link),
                Event::Delivery(delivery) => {
                    let (number, rest) = delivery.payload.split_first_chunk().unwrap();
                    let number = u64::from_be_bytes(*number);
                    assert!(rest.iter().all(|&byte| byte == number as u8), "a message of another");
                    self.received.push((delivery.link, number));
                    self.unsettled.extend(delivery.unsettled);
                }
                Event::Outcome { delivery, link, outcome, settled: true } => {
                    let from = self.outstanding.remove(&delivery).unwrap();
                    assert_eq!((link, outcome), (from, Some(Outcome::Accepted)));
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, connection: &mut Connection, link: LinkId, number: u64, len: usize, settled: bool) {
        let payload = [&number.to_be_bytes()[..], &vec![number as u8; len]].concat();
        let message = Outbound { tag: &number.to_be_bytes(), payload: &payload, settled, message_format: 0 };
        let credit = connection.credit(link);
        match connection.send(link, &message) {
            Ok(delivery) => {
                assert!(credit > 0);
                self.sent.entry(link).or_default().push(number);
                if !settled {
                    self.outstanding.insert(delivery, link);
                }
            }
            Err(SendError::NoCredit) => assert_eq!(credit, 0),
            Err(SendError::Detached | SendError::BufferFull | SendError::TooManyUnsettled) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, connection: &mut Connection, message: usize) {
        if self.unsettled.is_empty() {
            return;
        }
        let unsettled = self.unsettled.swap_remove(message % self.unsettled.len());
        let _ = connection.settle(unsettled, &DeliveryState::Accepted);
    }
}

fn run(operations: &[Operation], chunk: usize, window: u32, max_frame_size: u32) {
    let config = || Config { incoming_window: window, max_frame_size, max_unsettled: 5, ..Config::default() };
    let mut pair = Pair::open(config(), config());
    pair.chunk = chunk;
    pair.application.settles = false;
    let (mut client, mut server) = (Side::default(), Side::default());
    let mut sessions: Vec<SessionId> = Vec::new();
    let mut names = HashMap::new();
    let mut number = 0;
    let always = [Operation::Begin, Operation::Begin];
    let attached =
        [(0, true), (0, false), (1, true), (1, false)].map(|(at, sends)| Operation::Attach(at, sends));
    for operation in always.iter().chain(&attached).chain([&Operation::Exchange]).chain(operations) {
        match operation {
            Operation::Begin if sessions.len() < 4 => sessions.push(pair.client.begin().unwrap()),
            Operation::Attach(session, sends) if !sessions.is_empty() && client.links.len() < 20 => {
                let role = if *sends { Role::Sender } else { Role::Receiver };
                let name = format!("link{}", names.len());
                let session = sessions[session % sessions.len()];
                if let Ok(link) = pair.client.attach(session, &attach(&name, role), 7) {
                    names.insert(link, name);
                    client.links.push(link);
                }
            }
            Operation::Send { client: true, link, len, settled } if !client.links.is_empty() => {
                let link = client.links[link % client.links.len()];
                number += 1;
                client.send(&mut pair.client, link, number, *len, *settled);
            }
            Operation::Send { client: false, link, len, settled } if !server.links.is_empty() => {
                let link = server.links[link % server.links.len()];
                number += 1;
                server.send(&mut pair.server, link, number, *len, *settled);
            }
            Operation::Settle { client: true, message } => client.settle(&mut pair.client, *message),
            Operation::Settle { client: false, message } => {
                server.unsettled.append(&mut pair.application.kept);
                server.settle(&mut pair.server, *message);
            }
            Operation::Detach { client: true, link } if !client.links.is_empty() => {
                let _ = pair.client.detach(client.links[link % client.links.len()], None);
            }
            Operation::Detach { client: false, link } if !server.links.is_empty() => {
                let _ = pair.server.detach(server.links[link % server.links.len()], None);
            }
            Operation::End(session) if !sessions.is_empty() => {
                let session = sessions.swap_remove(session % sessions.len());
                pair.client.end(session, None).unwrap();
                client.links.retain(|link| pair.client.session_of(*link).is_some());
            }
            Operation::Exchange => {
                pair.drive();
                client.process(std::mem::take(&mut pair.client_events));
                server.process(std::mem::take(&mut pair.server_events));
                server.links.retain(|link| pair.server.session_of(*link).is_some());
            }
            _ => {}
        }
        assert_eq!((pair.client_error, pair.server_error), (None, None));
    }
    // Everything that can be settled is settled; then nothing is outstanding on links that still exist.
    for _ in 0..200 {
        pair.drive();
        client.process(std::mem::take(&mut pair.client_events));
        server.process(std::mem::take(&mut pair.server_events));
        server.unsettled.append(&mut pair.application.kept);
        for unsettled in client.unsettled.drain(..) {
            let _ = pair.client.settle(unsettled, &DeliveryState::Accepted);
        }
        for unsettled in server.unsettled.drain(..) {
            let _ = pair.server.settle(unsettled, &DeliveryState::Accepted);
        }
    }
    assert_eq!((pair.client_error, pair.server_error), (None, None));
    for (side, connection) in [(&client, &pair.client), (&server, &pair.server)] {
        let left = side.outstanding.values().filter(|link| connection.session_of(**link).is_some());
        assert_eq!(left.count(), 0);
    }
    // What arrived was sent, in the order of its link; on links that still exist, all of it arrived.
    for (from, sender, to) in [(&client, &pair.client, &server), (&server, &pair.server, &client)] {
        for (link, sent) in &from.sent {
            let arrived: Vec<u64> = to
                .received
                .iter()
                .map(|(_, number)| *number)
                .filter(|number| sent.contains(number))
                .collect();
            assert_eq!(arrived, sent[..arrived.len()]);
            if sender.session_of(*link).is_some() {
                assert_eq!(arrived.len(), sent.len());
            }
        }
    }
    pair.client.close(None).unwrap();
    pair.drive();
    assert_eq!((pair.client.heap_size(), pair.server.heap_size()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn two_ends_stay_consistent(
        operations in vec(operation(), 0..200),
        chunk in prop_oneof![Just(1), 2..200_usize, Just(100_000)],
        window in prop_oneof![1..6_u32, Just(1000)],
        max_frame_size in prop_oneof![Just(512), Just(65_536)],
    ) {
        run(&operations, chunk, window, max_frame_size);
    }
}
