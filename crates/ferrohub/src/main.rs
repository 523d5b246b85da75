//! Ferrohub: a self-hosted IoT hub that speaks Azure IoT Hub's protocols, in one binary.
//!
//! The binary contains the configuration, the command line and the assembly of the other crates. The rules of the hub
//! are in `ferrohub-core`.

// `eprintln!` panics if standard error is closed; `output::note` does not.
#![warn(clippy::print_stderr)]

mod cli;
mod commands;
mod config;
mod endpoints;
mod global_flags;
mod hints;
mod logging;
mod login;
mod open_files;
mod output;
mod serve;
mod starting;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
