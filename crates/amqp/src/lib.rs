//! AMQP 1.0 without I/O: codec, messages, and one state machine for servers and clients.
//!
//! This crate turns bytes into frames and frames into events. It opens no socket, starts no task and reads no clock: the
//! caller passes in the received bytes and the current time, and sends the bytes that the crate returns. The hub's AMQP
//! heads, the SDKs and the load generator therefore drive the same code, and a test runs hours of heartbeats in
//! milliseconds.
//!
//! The crate is not a broker: it knows no addresses, no tokens and no messages but those under way. It implements what
//! clients of IoT Hub use: no transactions, no resumption of links, no SASL mechanism that needs more than an initial
//! response.
//!
//! References such as AMQP §2.6.7 are sections of the AMQP 1.0 specification: part 1 is about types, 2 about transport, 3
//! about messaging, 5 about security.
//!
//! # Where to start reading
//!
//! * [`Value`] and [`Encoder`]: the type system. Decoded values are borrowed from their input.
//! * [`performative`] and [`frame`]: what is on the wire.
//! * [`message`]: the sections of a message, decoded when they are asked for, and the batch format.
//! * [`Connection`]: the state machine. Above the handshake AMQP is the same for both sides, so there is only one.
//! * [`Config`]: every limit.
//!
//! # How to drive a connection
//!
//! | call | when |
//! |---|---|
//! | `handle_input(bytes, now)` | bytes arrived; after an error send the remaining output, then close |
//! | `handle_timeout(now)` | the instant of `poll_timeout` has passed |
//! | `poll_event()` | after each of the two above and after `accept_sasl`, until it returns `None` |
//! | `poll_transmit(&mut out)` | after all of the above; write `out` to the peer |
//! | `poll_timeout()` | before sleeping; the instant may move later, so set a timer once and poll again when it fires |
//!
//! An idle connection owns no heap memory but one record of about 100 bytes for each session and link: frames are parsed
//! in the caller's read buffer (which all connections of a thread may share), only an incomplete frame is kept, and
//! `poll_transmit` hands over the send buffer.
//!
//! # What the machine does by itself, and what it leaves to the application
//!
//! It answers open, begin, detach, end and close; assembles messages and splits them into frames; renews the session
//! window and, as messages are settled, credit; sends heartbeats; and refuses what exceeds a limit. The application
//! decides about SASL, about each link, about each message, and when a client counts as authenticated. A message that
//! finds no credit is the application's to keep until [`Event::Credit`].
//!
//! # Driving a connection
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use bytes::BytesMut;
//! use ferrohub_amqp::{
//!     Config, Connection, Event, Grant, Outbound,
//!     message::{Message, MessageEncoder},
//!     performative::{Attach, DeliveryState, Role, Source, Target},
//! };
//!
//! let now = Instant::now(); // the driver's clock
//! let mut server = Connection::accept(Arc::default(), now);
//! let mut client = Connection::connect(Arc::default(), None, now);
//! let mut link = None;
//!
//! for _ in 0..4 {
//!     let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
//!     client.poll_transmit(&mut to_server);
//!     server.handle_input(&to_server, now)?;
//!     while let Some(event) = server.poll_event() {
//!         match event {
//!             Event::Open(_) => server.set_authenticated(),
//!             Event::Attach { link, attach } => {
//!                 assert_eq!(attach.get().target.unwrap().address, Some("/messages"));
//!                 server.accept_link(link, &Grant { credit: 100, ..Grant::default() })?;
//!             }
//!             Event::Delivery(delivery) => {
//!                 let message = Message::parse(&delivery.payload)?;
//!                 assert_eq!(&message.data().concat()[..], b"21.5");
//!                 server.settle(delivery.unsettled.unwrap(), &DeliveryState::Accepted)?;
//!             }
//!             _ => {}
//!         }
//!     }
//!     server.poll_transmit(&mut to_client);
//!     client.handle_input(&to_client, now)?;
//!     while let Some(event) = client.poll_event() {
//!         match event {
//!             Event::Open(_) => {
//!                 let attach = Attach {
//!                     name: "telemetry",
//!                     role: Role::Sender,
//!                     source: Some(Source::default()),
//!                     target: Some(Target { address: Some("/messages"), ..Target::default() }),
//!                     ..Attach::default()
//!                 };
//!                 let session = client.begin()?;
//!                 link = Some(client.attach(session, &attach, 0)?);
//!             }
//!             Event::Credit { link, .. } => {
//!                 let mut payload = BytesMut::new();
//!                 MessageEncoder::new(&mut payload).data(b"21.5");
//!                 client.send(link, &Outbound { tag: b"1", payload: &payload, ..Outbound::default() })?;
//!             }
//!             Event::Outcome { settled, .. } => assert!(settled),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(client.credit(link.unwrap()), 99);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic is how a test fails"))]

mod assembler;
mod codec;
mod config;
mod connection;
mod error;
mod event;
pub mod frame;
mod ids;
pub mod message;
mod output;
pub mod performative;
mod session;

pub use codec::{
    Array, Composite, DecodeError, Described, Descriptor, Encoder, Field, Items, List, MAX_DEPTH,
    MAX_EMPTY_ELEMENTS, Map, Owned, Pairs, Symbol, Symbols, Timestamp, Value, View,
};
pub use config::{Config, Unauthenticated};
pub use connection::{Connection, Credentials};
pub use error::{ProtocolError, SendError};
pub use event::{Delivery, Event, Reason};
pub use ids::{DeliveryId, DeliveryTag, LinkId, SessionId, Unsettled};
pub use session::{Grant, Outbound};
