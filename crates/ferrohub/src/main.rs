//! An IoT hub you run yourself: Azure IoT Hub's protocols in one binary.
//!
//! The binary assembles the crates below it and talks to people; it has no rules of its own.

mod cli;
mod commands;
mod config;
mod endpoints;
mod logging;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
