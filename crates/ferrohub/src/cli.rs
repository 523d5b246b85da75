//! The command line: what there is, and what its exit codes mean.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::commands;
use crate::config::{self, Config};
use crate::hints;

/// An IoT hub you run yourself: devices and back ends written for Azure IoT Hub work against it.
///
/// Exit codes: 0 done; 1 failed, the message says why; 2 the command line is wrong; 3 `invoke`: the device answered
/// with a status of 400 or more.
#[derive(Debug, Parser)]
#[command(version, name = "ferrohub", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What all commands understand.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Configuration file [default: ferrohub.toml in the current folder, if there is one]
    #[arg(long, global = true, env = "FERROHUB_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for everything that must survive a restart
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The hub's name
    #[arg(long, global = true, value_name = "NAME")]
    hostname: Option<String>,
}

impl Common {
    /// The effective configuration, with flags of the command on top.
    pub(crate) fn load(&self, mut flags: config::Overrides) -> anyhow::Result<Config> {
        if let Some(folder) = &self.data_dir {
            // A path on the command line is relative to where the command runs, not to the file.
            flags.push(("data_dir", std::path::absolute(folder)?.to_string_lossy().into_owned()));
        }
        flags.extend(self.hostname.clone().map(|name| ("hostname", name)));
        let file = self.config.clone().or_else(config::default_file);
        config::load(file.as_deref(), std::env::vars(), &flags)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything at once: a hub, a device, a back end, and a method call
    Demo(commands::demo::Demo),
    /// Run the hub
    Serve(commands::serve::Serve),
    /// Print what a client's shell needs: eval "$(ferrohub env)"
    Env(commands::env::Env),
    /// Print the effective configuration, secrets masked
    Config(commands::config::ConfigCommand),
    /// Manage devices
    Device(commands::device::DeviceCommand),
    /// Manage modules of devices
    Module(commands::module::ModuleCommand),
    /// Read and change twins of devices and modules
    Twin(commands::twin::TwinCommand),
    /// Files that devices uploaded to the hub's own folder
    Files(commands::files::FilesCommand),
    /// Call a method on a device
    Invoke(commands::invoke::Invoke),
    /// Send messages to devices
    C2d(commands::c2d::C2dCommand),
    /// Watch what devices send, and what becomes of messages to them
    Monitor(commands::monitor::MonitorCommand),
    /// Send telemetry as a device or module
    SendEvent(commands::send_event::SendEvent),
    /// Upload a file as a device
    Upload(commands::upload::Upload),
    /// Be one device or many: answer methods, report what is wanted, send telemetry
    Simulate(commands::simulate::Simulate),
    /// Manage the hub's shared access policies
    Policy(commands::policy::PolicyCommand),
    /// Manage the certificate authorities whose devices may connect
    Ca(commands::ca::CaCommand),
    /// Let something go wrong, for tests; the hub's configuration must allow it
    Fault(commands::fault::FaultCommand),
    /// Print completions for a shell
    Completions(commands::completions::Completions),
}

/// The whole command line, for completions.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

pub(crate) fn run() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let result = match command {
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(&common),
        Command::Env(env) => env.run(&common),
        Command::Config(config) => config.run(&common),
        Command::Device(device) => device.run(&common),
        Command::Module(module) => module.run(&common),
        Command::Twin(twin) => twin.run(&common),
        Command::C2d(c2d) => c2d.run(&common),
        Command::Files(files) => files.run(&common),
        Command::Monitor(monitor) => monitor.run(&common),
        Command::SendEvent(send) => send.run(&common),
        Command::Upload(upload) => upload.run(&common),
        Command::Simulate(simulate) => simulate.run(&common),
        Command::Policy(policy) => policy.run(&common),
        Command::Ca(ca) => ca.run(&common),
        Command::Fault(fault) => fault.run(&common),
        Command::Completions(completions) => {
            completions.run();
            Ok(())
        }
        // Its exit code tells what the device said.
        Command::Invoke(invoke) => match invoke.run(&common) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ferrohub: {error:#}");
            if let Some(hint) = hints::for_error(&error) {
                eprintln!("{hint}");
            }
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_contradictions() {
        command().debug_assert();
    }
}
