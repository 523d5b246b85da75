//! Tests of the codec and the state machines through the public interface. One test binary, so that it links once.
#![expect(clippy::disallowed_methods, reason = "the origin of the virtual clock")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod any_split_gives_the_same_events;
mod client_and_server;
mod codec_agrees_with_rumqttc;
mod every_packet_survives_a_round_trip;
mod golden_bytes;
mod hostile_bytes_are_refused;
mod packets;
mod pair;
