//! `ferrohub completions`: shell completions.

use clap::Args;
use clap_complete::Shell;

use crate::output;

/// Flags of `ferrohub completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints the script for `command`, the definition of the command line.
    pub(crate) fn run(self, mut command: clap::Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "ferrohub", &mut script);
        output::print_bytes(&script)
    }
}
