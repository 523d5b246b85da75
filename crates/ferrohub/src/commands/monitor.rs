//! `ferrohub monitor`: prints events, message feedback and file notifications as they arrive.

mod events;
mod feedback;
mod files;

use clap::{Args, Subcommand};

use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{self, Output};

/// Flags of `ferrohub monitor`.
#[derive(Debug, Args)]
pub(crate) struct MonitorCommand {
    #[command(flatten)]
    login: Login,
    /// Output format
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print events from devices and from the hub
    Events(events::Events),
    /// Print feedback about cloud-to-device messages, and complete it
    Feedback(feedback::Feedback),
    /// Print and complete file notifications, so that no other receiver gets them (needs files.notifications)
    Files(files::Files),
}

impl MonitorCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let access = self.login.access(global)?;
            let client = &access.client;
            let watch = async {
                match self.action {
                    Action::Events(events) => events.run(client, self.output).await,
                    Action::Feedback(feedback) => feedback.run(client, self.output).await,
                    Action::Files(files) => files.run(&access, self.output).await,
                }
            };
            // Ctrl-C is the normal way to stop, not a failure.
            tokio::select! {
                result = watch => result,
                received = tokio::signal::ctrl_c() => Ok(received?),
                closed = output::closed() => Err(closed.into()),
            }
        })
    }
}
