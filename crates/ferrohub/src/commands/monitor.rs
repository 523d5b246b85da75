//! `ferrohub monitor`: watches what devices send and upload, and what becomes of messages to them.

mod events;
mod feedback;
mod files;

use clap::{Args, Subcommand};

use crate::cli::Common;
use crate::login::Login;
use crate::output::Output;

/// Flags of `ferrohub monitor`.
#[derive(Debug, Args)]
pub(crate) struct MonitorCommand {
    #[command(flatten)]
    login: Login,
    /// How to print
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print events as they come: what devices send, and what the hub tells of them
    Events(events::Events),
    /// Print what became of messages to devices, as it comes
    Feedback(feedback::Feedback),
    /// Say when devices have uploaded files; what is said is not told to anybody else (needs files.notifications)
    Files(files::Files),
}

impl MonitorCommand {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        super::block_on(async {
            let client = self.login.access(common)?.client;
            let watch = async {
                match self.action {
                    Action::Events(events) => events.run(&client, self.output).await,
                    Action::Feedback(feedback) => feedback.run(&client, self.output).await,
                    Action::Files(files) => files.run(&client, self.output).await,
                }
            };
            // Ctrl-C is how one ends it, and no failure.
            tokio::select! {
                ended = watch => ended,
                told = tokio::signal::ctrl_c() => Ok(told?),
            }
        })
    }
}
