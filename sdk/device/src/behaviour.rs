//! Behaviour of a client against a hub inside the test, for cases that a real hub cannot produce on request: a connection
//! lost in the middle of a call, a lost acknowledgement, silence. In virtual time, without TLS. The acceptance tests use a
//! real hub.

mod fake_hub;

mod answering_calls;
mod connecting;
mod disconnecting;
mod opening_transports;
mod receiving_messages;
mod reconnecting;
mod renewing_tokens;
mod sending_events;
mod twins;
mod uploading_files;
