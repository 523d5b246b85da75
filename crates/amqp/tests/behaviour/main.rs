//! Tests of the codec and the state machines through the public interface. One test binary, so that it links once.
#![expect(clippy::disallowed_methods, reason = "the origin of the virtual clock")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod another_implementation;
mod any_split_gives_the_same_events;
mod captured_sessions_replay;
mod captures;
mod client_and_server;
mod codec_agrees_with_serde_amqp;
mod every_captured_frame_decodes;
mod every_value_survives_a_round_trip;
mod flows;
mod hostile_values_are_refused;
mod idle_memory;
mod limits;
mod messages;
mod pair;
mod random_operations;
mod raw;
mod transfers;
mod values;
