//! The hot paths, each in a loop whose length is an argument: `ferrohub-instructions PATH COUNT`.
//!
//! `cargo xtask instructions` runs this under callgrind with two lengths; the difference, divided, is what one turn
//! costs in instructions, which does not depend on how busy the machine is.
#![allow(clippy::print_stdout, reason = "it tells which paths there are")]

mod calls;
mod mqtt;
mod noop;
mod tokens;

use anyhow::{Context as _, bail};

/// A path: `COUNT` turns of it.
type HotPath = fn(u32) -> anyhow::Result<()>;

/// All of them, by name.
const PATHS: [(&str, HotPath); 5] = [
    ("mqtt_request_out", mqtt::request_out),
    ("mqtt_response_in", mqtt::response_in),
    ("mqtt_ping", mqtt::ping),
    ("token_cached", tokens::cached_token),
    ("method_call", calls::method_call),
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    let count = arguments.next().context("how many turns?")?.parse()?;
    match PATHS.iter().find(|(known, _)| *known == name) {
        Some((_, path)) => path(count),
        None => bail!("there is no path `{name}`"),
    }
}
