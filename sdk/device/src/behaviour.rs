//! What a client does when a hub does what no hub can be asked to do: drop a connection in the middle of a call, refuse
//! for a while, lose an acknowledgement, keep silent. In virtual time, without TLS. A real hub is the acceptance
//! tests' affair.

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
