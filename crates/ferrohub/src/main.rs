//! An IoT hub you run yourself: Azure IoT Hub's protocols in one binary.
//!
//! The binary assembles the crates below it and talks to people; it has no rules of its own.

mod cli;
mod commands;
mod config;
mod endpoints;
mod hints;
mod logging;
mod login;
mod output;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
