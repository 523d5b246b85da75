//! What every adapter of the bus does, run over each of them. `here` is the bus of the node that asks; `there` is the node
//! that has the connection. On a single node both are the same.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod calls;
mod disconnects;
mod loopback;
mod messages;
mod nodes;
mod notices;
mod reloads;
