//! The flags of all commands: where the configuration is.

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Config};

/// Flags of all commands.
#[derive(Debug, Args)]
pub(crate) struct GlobalFlags {
    /// Configuration file [default: ferrohub.toml in the current folder, if it exists]
    #[arg(long, global = true, env = "FERROHUB_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder: databases, certificates and files
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Host name of the hub
    #[arg(long, global = true, value_name = "NAME")]
    hostname: Option<String>,
}

impl GlobalFlags {
    /// Loads the configuration. `flags` of the command override file and environment.
    pub(crate) fn load(&self, mut flags: config::Overrides) -> anyhow::Result<Config> {
        if let Some(folder) = &self.data_dir {
            // A path on the command line is relative to the current folder, not to the configuration file.
            flags.push(("data_dir", std::path::absolute(folder)?.to_string_lossy().into_owned()));
        }
        flags.extend(self.hostname.clone().map(|name| ("hostname", name)));
        let file = self.config.clone().or_else(config::default_file);
        config::load(file.as_deref(), std::env::vars(), &flags)
    }
}
