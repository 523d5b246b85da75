//! The command line: what there is, and what its exit codes mean.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::config::{self, Config};

/// An IoT hub you run yourself: devices and back ends written for Azure IoT Hub work against it.
///
/// Exit codes: 0 done; 1 failed, the message says why; 2 the command line is wrong.
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
    /// Run the hub
    Serve(commands::serve::Serve),
    /// Print what a client's shell needs: eval "$(ferrohub env)"
    Env(commands::env::Env),
    /// Print the effective configuration, secrets masked
    Config(commands::config::ConfigCommand),
}

pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(serve) => serve.run(&cli.common),
        Command::Env(env) => env.run(&cli.common),
        Command::Config(config) => config.run(&cli.common),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ferrohub: {error:#}");
            ExitCode::FAILURE
        }
    }
}
