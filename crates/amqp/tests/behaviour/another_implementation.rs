//! The state machine talks to an independent implementation of both sides, so that a misreading of the specification is
//! not shared by both ends.

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use fe2o3_amqp::{
    Connection as TheirConnection, Receiver, Sender, Session,
    acceptor::{ConnectionAcceptor, LinkAcceptor, LinkEndpoint, SaslPlainMechanism, SessionAcceptor},
    sasl_profile::SaslProfile,
};
use fe2o3_amqp_types::messaging::{Body, Data, Outcome as TheirOutcome};
use ferrohub_amqp::{
    Config, Connection, Credentials, Event, Grant, LinkId, Outbound,
    message::{Message, MessageEncoder},
    performative::{AmqpError, DeliveryState, Outcome, Rejected, Role},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::pair::attach;

const MESSAGES: usize = 500;

/// Small frames and windows, so that messages are split and windows are renewed.
fn config() -> Config {
    Config { max_frame_size: 1024, incoming_window: 10, max_transmit: 1024 * 1024, ..Config::default() }
}

/// A payload whose size depends on its number: some take many frames.
fn payload(number: usize) -> Vec<u8> {
    vec![number as u8; if number.is_multiple_of(50) { 20_000 } else { number % 7 }]
}

fn encoded(number: usize) -> BytesMut {
    let mut message = BytesMut::new();
    MessageEncoder::new(&mut message).data(&payload(number));
    message
}

/// Runs our connection over a stream until it is closed, with what an application does about events.
async fn drive(
    mut connection: Connection,
    mut stream: DuplexStream,
    mut handle: impl FnMut(&mut Connection, Event),
) {
    let mut input = vec![0; 16 * 1024];
    loop {
        while let Some(event) = connection.poll_event() {
            handle(&mut connection, event);
        }
        let mut out = BytesMut::new();
        connection.poll_transmit(&mut out);
        stream.write_all(&out).await.unwrap();
        if connection.is_closed() {
            return;
        }
        match stream.read(&mut input).await.unwrap() {
            0 => panic!("the stream ended before the connection"),
            len => connection.handle_input(&input[..len], Instant::now()).unwrap(),
        }
    }
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn their_client_sends_to_and_receives_from_our_server() {
    block_on(async {
        let (ours, theirs) = tokio::io::duplex(4096);
        let server = Connection::accept(Arc::new(config()), Instant::now());
        let (mut received, mut sent, mut accepted) = (0, 0, 0);
        let server = drive(server, ours, move |server, event| match event {
            Event::SaslInit(init) => {
                assert_eq!(init.get().initial_response, Some(&b"\0user\0password"[..]));
                server.accept_sasl().unwrap();
            }
            Event::Open(_) => server.set_authenticated(),
            Event::Attach { link, .. } => {
                server.accept_link(link, &Grant { credit: 20, ..Grant::default() }).unwrap();
            }
            Event::Delivery(delivery) => {
                let message = Message::parse(&delivery.payload).unwrap();
                assert_eq!(&message.data().concat()[..], payload(received));
                let error = AmqpError::new("amqp:resource-limit-exceeded");
                let state = match received % 10 {
                    9 => DeliveryState::Rejected(Rejected { error: Some(error) }),
                    _ => DeliveryState::Accepted,
                };
                server.settle(delivery.unsettled.unwrap(), &state).unwrap();
                received += 1;
            }
            Event::Credit { link, .. } => {
                while server.credit(link) > 0 && sent < MESSAGES {
                    let message = encoded(sent);
                    server
                        .send(
                            link,
                            &Outbound { tag: &sent.to_be_bytes(), payload: &message, ..Outbound::default() },
                        )
                        .unwrap();
                    sent += 1;
                }
            }
            Event::Outcome { outcome, settled, .. } => {
                assert_eq!((outcome, settled), (Some(Outcome::Accepted), true));
                accepted += 1;
            }
            Event::Close { error } => {
                assert_eq!((error, received, accepted), (None, MESSAGES, MESSAGES));
            }
            Event::Begin(_) | Event::Detach { .. } | Event::End { .. } => {}
            other => panic!("{other:?}"),
        });
        let client = async {
            let credentials = SaslProfile::Plain { username: "user".into(), password: "password".into() };
            let builder =
                TheirConnection::builder().container_id("client").hostname("localhost").scheme("amqp");
            let builder = builder.max_frame_size(1000_u32).sasl_profile(credentials);
            let mut connection = builder.open_with_stream(theirs).await.unwrap();
            let mut session = Session::begin(&mut connection).await.unwrap();
            let mut sender = Sender::attach(&mut session, "up", "to").await.unwrap();
            for number in 0..MESSAGES {
                let outcome =
                    sender.send(Body::<serde_amqp::Value>::from(Data(payload(number).into()))).await.unwrap();
                assert_eq!(matches!(outcome, TheirOutcome::Rejected(_)), number % 10 == 9, "{outcome:?}");
            }
            sender.close().await.unwrap();

            let mut receiver = Receiver::attach(&mut session, "down", "from").await.unwrap();
            for number in 0..MESSAGES {
                let delivery = receiver.recv::<Data>().await.unwrap();
                assert_eq!(delivery.body().0.as_ref(), payload(number));
                receiver.accept(&delivery).await.unwrap();
            }
            receiver.close().await.unwrap();
            session.end().await.unwrap();
            connection.close().await.unwrap();
        };
        tokio::join!(server, client);
    });
}

#[test]
fn our_client_sends_to_and_receives_from_their_server() {
    block_on(async {
        let (ours, theirs) = tokio::io::duplex(4096);
        let credentials =
            Credentials { mechanism: "PLAIN", response: Some(Bytes::from_static(b"\0user\0password")) };
        let client = Connection::connect(Arc::new(config()), Some(credentials), Instant::now());
        let (mut up, mut down): (Option<LinkId>, Option<LinkId>) = (None, None);
        let (mut session, mut sent, mut accepted, mut received) = (None, 0, 0, 0);
        let client = drive(client, ours, move |client, event| match event {
            Event::Open(_) => {
                let begun = client.begin().unwrap();
                up = Some(client.attach(begun, &attach("up", Role::Sender), 0).unwrap());
                session = Some(begun);
            }
            Event::Credit { link, .. } => {
                while client.credit(link) > 0 && sent < MESSAGES {
                    let message = encoded(sent);
                    client
                        .send(
                            link,
                            &Outbound { tag: &sent.to_be_bytes(), payload: &message, ..Outbound::default() },
                        )
                        .unwrap();
                    sent += 1;
                }
            }
            Event::Outcome { outcome, .. } => {
                assert_eq!(outcome, Some(Outcome::Accepted));
                accepted += 1;
                if accepted == MESSAGES {
                    // They may have detached it in the same bytes.
                    let _ = client.detach(up.unwrap(), None);
                    down =
                        Some(client.attach(session.unwrap(), &attach("down", Role::Receiver), 20).unwrap());
                }
            }
            Event::Delivery(delivery) => {
                let message = Message::parse(&delivery.payload).unwrap();
                assert_eq!(&message.data().concat()[..], payload(received));
                client.settle(delivery.unsettled.unwrap(), &DeliveryState::Accepted).unwrap();
                received += 1;
                if received == MESSAGES {
                    let _ = client.detach(down.unwrap(), None);
                }
            }
            Event::Detach { link, error } => {
                assert_eq!(error, None);
                if down == Some(link) {
                    client.end(session.unwrap(), None).unwrap();
                }
            }
            Event::End { error, .. } => {
                assert_eq!(error, None);
                client.close(None).unwrap();
            }
            Event::Begin(_) | Event::Attach { .. } | Event::Close { error: None } => {}
            other => panic!("{other:?}"),
        });
        let server = async {
            let sasl = SaslPlainMechanism::new("user", "password");
            let acceptor = ConnectionAcceptor::builder().container_id("server").max_frame_size(900_u32);
            let mut connection = acceptor.sasl_acceptor(sasl).build().accept(theirs).await.unwrap();
            let mut session = SessionAcceptor::new().accept(&mut connection).await.unwrap();
            let links = LinkAcceptor::new();
            let LinkEndpoint::Receiver(mut receiver) = links.accept(&mut session).await.unwrap() else {
                panic!()
            };
            for number in 0..MESSAGES {
                let delivery = receiver.recv::<Data>().await.unwrap();
                assert_eq!(delivery.body().0.as_ref(), payload(number));
                receiver.accept(&delivery).await.unwrap();
            }
            receiver.close().await.unwrap();
            let LinkEndpoint::Sender(mut sender) = links.accept(&mut session).await.unwrap() else {
                panic!()
            };
            for number in 0..MESSAGES {
                let outcome =
                    sender.send(Body::<serde_amqp::Value>::from(Data(payload(number).into()))).await.unwrap();
                assert!(matches!(outcome, TheirOutcome::Accepted(_)), "{outcome:?}");
            }
            sender.close().await.unwrap();
            assert_eq!(format!("{:?}", session.on_end().await), "Err(RemoteEnded)");
            assert_eq!(format!("{:?}", connection.on_close().await), "Err(RemoteClosed)");
        };
        tokio::join!(client, server);
    });
}
