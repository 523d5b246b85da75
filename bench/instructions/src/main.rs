//! Runs a hot path in a loop: `ferrohub-instructions PATH COUNT`. Without arguments, prints the names of the paths.
//!
//! `cargo xtask instructions` runs this under callgrind with two counts. The difference, divided by the iterations, is
//! the number of instructions of one iteration, which does not depend on the load of the machine.
#![allow(clippy::print_stdout, reason = "it prints the names of the paths")]

mod calls;
mod hub;
mod mqtt;
mod requests;
mod tokens;

use anyhow::{Context as _, bail};

/// A function that runs a path the given number of times.
type HotPath = fn(u32) -> anyhow::Result<()>;

/// All paths, by name.
const PATHS: [(&str, HotPath); 8] = [
    ("mqtt_request_out", mqtt::request_out),
    ("mqtt_response_in", mqtt::response_in),
    ("mqtt_ping", mqtt::ping),
    ("token_cached", tokens::cached_token),
    ("method_call", calls::method_call),
    ("rest_method_call", requests::method_call),
    ("rest_twin_get", requests::twin_get),
    ("mqtt_telemetry", requests::telemetry),
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    let count = arguments.next().context("COUNT is missing: ferrohub-instructions PATH COUNT")?.parse()?;
    match PATHS.iter().find(|(known, _)| *known == name) {
        Some((_, path)) => path(count),
        None => bail!("unknown hot path `{name}`; run without arguments for the list"),
    }
}
