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
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::cli::command(), "ferrohub", &mut script);
        output::print_bytes(&script)
    }
}
