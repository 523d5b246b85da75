//! MQTT 3.1.1 without I/O: codec, server state machine and client state machine.
//!
//! This crate turns bytes into packets and packets into events. It opens no socket, starts no task and reads no
//! clock: the caller passes in the received bytes and the current time, and sends the bytes that the crate returns.
//! The hub's MQTT gateway, the device SDK and the load generator therefore drive the same code, and a test runs hours
//! of keep-alive in milliseconds.
//!
//! The crate is not a broker: it keeps no subscriptions, routes nothing, stores nothing, and knows nothing about the
//! topics of an IoT hub. QoS 2 is decoded, but both state machines refuse it, as IoT Hub does. The server answers
//! MQTT 5 with "unacceptable protocol version".
//!
//! Names such as MQTT-3.1.2-24 are the numbered statements of the MQTT 3.1.1 specification.
//!
//! # Where to start reading
//!
//! * [`Packet`] and its parts: the control packets. [`Utf8`] is a string that shares the buffer it arrived in.
//! * [`decode`], [`decode_slice`], [`encode`]: the codec alone.
//! * [`server::Connection`] and [`client::Connection`]: the two state machines, with the same interface.
//! * [`websocket`]: the frames around MQTT over WebSocket.
//! * [`filter`]: checks whether a topic filter is valid and whether it matches a topic.
//!
//! # How to drive a state machine
//!
//! | call | when |
//! |---|---|
//! | `handle_input(bytes, now)` | bytes arrived; after an error send the remaining output, then close |
//! | `handle_timeout(now)` | the instant of `poll_timeout` has passed |
//! | `poll_event()` | after each of the two above and after `accept`, until it returns `None` |
//! | `poll_transmit(&mut out)` | after all of the above; write `out` to the peer |
//! | `poll_timeout()` | before sleeping; the instant may move later, so set a timer once and poll again when it fires |
//!
//! An idle state machine owns no heap memory: packets are parsed in the caller's read buffer (which all connections of
//! a thread may share), only an incomplete packet is kept, and `poll_transmit` hands over the send buffer.
//!
//! # Driving a connection
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use bytes::BytesMut;
//! use ferrohub_mqtt::{QoS, Refusal, SubscribeCode, server::{Config, Connection, Event}};
//!
//! let now = Instant::now(); // the driver's clock
//! let mut connection = Connection::new(Arc::new(Config::default()), now);
//! let mut out = BytesMut::new();
//!
//! // CONNECT of client "d1", keep-alive 60 s, immediately followed by a SUBSCRIBE.
//! connection.handle_input(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d1", now)?;
//! connection.handle_input(b"\x82\x08\x00\x01\x00\x03a/#\x01", now)?;
//!
//! while let Some(event) = connection.poll_event() {
//!     match event {
//!         Event::Connect(connect) if connect.client_id == "d1" => connection.accept(false, now)?,
//!         Event::Connect(_) => connection.reject(Refusal::NotAuthorized),
//!         Event::Subscribe(subscribe) => {
//!             connection.suback(subscribe.packet_id, &[SubscribeCode::Granted(QoS::AtLeastOnce)]);
//!             let rid = 7;
//!             connection.publish(format_args!("a/?$rid={rid:x}"), QoS::AtMostOnce, b"{}")?;
//!         }
//!         other => println!("{other:?}"),
//!     }
//! }
//! connection.poll_transmit(&mut out);
//! assert_eq!(out, &b"\x20\x02\x00\x00\x90\x03\x00\x01\x01\x30\x0d\x00\x09a/?$rid=7{}"[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic is how a test fails"))]

mod assembler;
mod codec;
mod error;
mod packet;
mod text;

pub mod client;
pub mod filter;
pub mod server;
pub mod websocket;

pub use codec::{DecodeError, EncodeError, Limits, MAX_REMAINING_LENGTH, decode, decode_slice, encode};
pub use error::{ProtocolError, SendError};
pub use packet::{
    ConnAck, Connect, Packet, PacketId, PacketKind, Publish, QoS, Refusal, SubAck, Subscribe, SubscribeCode,
    Unsubscribe, Will,
};
pub use text::{Utf8, Utf8Error};
