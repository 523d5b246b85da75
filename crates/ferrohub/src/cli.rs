//! The command line: all commands, and exit codes.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands;
use crate::global_flags::GlobalFlags;
use crate::hints;
use crate::output::{self, Output, OutputClosed};

/// Exit code if the reader of the output ends first: that of a program that SIGPIPE ends.
const EXIT_OUTPUT_CLOSED: u8 = 141;
/// Exit code for a wrong command line, as clap has it.
const EXIT_USAGE: u8 = 2;

/// A self-hosted IoT hub for devices and services written for Azure IoT Hub.
///
/// Exit codes: 0 success; 1 failure, the message says why; 2 wrong command line; 3 (`invoke` and `digital-twin
/// invoke-command` only) the device returned a status of 400 or more; 141 the reader of the output ended first. With --output json, errors are JSON on standard
/// error.
#[derive(Debug, Parser)]
#[command(version, name = "ferrohub", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a demonstration: a hub, a device, a service and one method call
    Demo(commands::demo::Demo),
    /// Run the hub
    Serve(commands::serve::Serve),
    /// Wait until the hub is ready
    Wait(commands::wait::Wait),
    /// Print the environment variables that clients need; use as: eval "$(ferrohub env)"
    Env(commands::env::Env),
    /// Print the effective configuration, with secrets masked
    Config(commands::config::ConfigCommand),
    /// Manage devices
    Device(commands::registry::DeviceCommand),
    /// Manage modules of devices
    Module(commands::registry::ModuleCommand),
    /// Read and change twins of devices and modules
    Twin(commands::twins::TwinCommand),
    /// Read and change digital twins, and call commands (IoT Plug and Play)
    DigitalTwin(commands::digital_twins::DigitalTwinCommand),
    /// Query twins of devices and modules
    Query(commands::queries::QueryCommand),
    /// Manage configurations: desired properties for all devices or modules that match a condition
    Configuration(commands::configurations::ConfigurationCommand),
    /// Manage deployments of modules to edge devices
    Deployment(commands::configurations::DeploymentCommand),
    /// Call a method, or change the twin, of many devices
    Job(commands::jobs::JobCommand),
    /// List, download and delete the files that devices uploaded
    Files(commands::files::FilesCommand),
    /// Call a method on a device
    Invoke(commands::methods::Invoke),
    /// Send, receive and purge cloud-to-device messages
    C2d(commands::cloud_to_device::C2dCommand),
    /// Print events, message feedback and file notifications as they arrive
    Monitor(commands::monitor::MonitorCommand),
    /// Send telemetry as a device or module
    SendEvent(commands::telemetry::SendEvent),
    /// Upload a file as a device
    Upload(commands::files::Upload),
    /// Simulate devices: respond to methods, report desired properties, send telemetry
    Simulate(commands::simulate::Simulate),
    /// Manage the hub's shared access policies
    Policy(commands::policies::PolicyCommand),
    /// Manage the certificate authorities that devices may authenticate with
    Ca(commands::authorities::CaCommand),
    /// Back up the data folder to one file, also while the hub runs
    Backup(commands::backup::Backup),
    /// Make a data folder from a backup
    Restore(commands::backup::Restore),
    /// Inject faults, for tests (needs faults.enabled)
    Fault(commands::faults::FaultCommand),
    /// Print the completion script for a shell
    Completions(commands::completions::Completions),
}

pub(crate) fn run() -> ExitCode {
    let output = hints::requested_output(std::env::args());
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && output == Output::Json => {
            let text = error.to_string();
            let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
            output::note(&serde_json::json!({ "error": { "message": message } }).to_string());
            return ExitCode::from(EXIT_USAGE);
        }
        Err(error) => error.exit(),
    };
    let result = match command {
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(&global),
        Command::Wait(wait) => wait.run(&global),
        Command::Env(env) => env.run(&global),
        Command::Config(config) => config.run(&global),
        Command::Device(device) => device.run(&global),
        Command::Module(module) => module.run(&global),
        Command::Twin(twin) => twin.run(&global),
        Command::Query(query) => query.run(&global),
        Command::Configuration(configuration) => configuration.run(&global),
        Command::Deployment(deployment) => deployment.run(&global),
        Command::Job(job) => job.run(&global),
        Command::C2d(c2d) => c2d.run(&global),
        Command::Files(files) => files.run(&global),
        Command::Monitor(monitor) => monitor.run(&global),
        Command::SendEvent(send) => send.run(&global),
        Command::Upload(upload) => upload.run(&global),
        Command::Simulate(simulate) => simulate.run(&global),
        Command::Policy(policy) => policy.run(&global),
        Command::Ca(ca) => ca.run(&global),
        Command::Backup(backup) => backup.run(&global),
        Command::Restore(restore) => restore.run(&global),
        Command::Fault(fault) => fault.run(&global),
        Command::Completions(completions) => completions.run(Cli::command()),
        // Its exit code depends on the status that the device returned.
        Command::Invoke(invoke) => match invoke.run(&global) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::DigitalTwin(digital_twin) => match digital_twin.run(&global) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<OutputClosed>() => ExitCode::from(EXIT_OUTPUT_CLOSED),
        Err(error) => {
            report(&error, output);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &anyhow::Error, output: Output) {
    match output {
        Output::Json => output::note(&output::escape_json(&hints::to_json(error).to_string())),
        Output::Table => {
            output::note(&format!("ferrohub: {}", hints::describe(error)));
            if let Some(hint) = hints::for_error(error) {
                output::note(hint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_valid() {
        Cli::command().debug_assert();
    }
}
