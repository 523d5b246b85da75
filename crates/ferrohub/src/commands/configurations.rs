//! Configurations: `ferrohub configuration`, and `ferrohub deployment` for edge devices.

mod deployment;
mod document;
mod show;

use anyhow::bail;
use clap::{Args, Subcommand};
use ferrohub_service::{Configuration, ConfigurationContent, ServiceClient};
use serde_json::json;

pub(crate) use deployment::DeploymentCommand;
use document::{Changes, Create, Parts};

use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::Output;

/// The longest list of a hub.
const MAX_TOP: u32 = 100;

/// Flags of `ferrohub configuration`.
#[derive(Debug, Args)]
pub(crate) struct ConfigurationCommand {
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
    /// List configurations, ordered by id
    List,
    /// Show a configuration
    Show {
        /// The configuration's id
        id: String,
    },
    /// Create a configuration
    Create(Create),
    /// Change the target condition, priority, labels or metrics of a configuration
    Update(Update),
    /// Delete a configuration; its settings are removed from the twins
    Delete(Delete),
    /// Show the results of the metrics of a configuration
    Metrics {
        /// The configuration's id
        id: String,
    },
}

/// What an update needs.
#[derive(Debug, Args)]
struct Update {
    /// The configuration's id
    id: String,
    #[command(flatten)]
    changes: Changes,
    /// Change only if the etag matches
    #[arg(long)]
    etag: Option<String>,
}

/// What a deletion needs.
#[derive(Debug, Args)]
struct Delete {
    /// The configuration's id
    id: String,
    /// Delete only if the etag matches
    #[arg(long)]
    etag: Option<String>,
}

impl ConfigurationCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let client = self.login.access(global)?.client;
            match self.action {
                Action::List => {
                    let all = client.list_configurations(MAX_TOP).await?;
                    let all: Vec<_> = all.into_iter().filter(|one| !is_deployment(&one.content)).collect();
                    self.output.print(&all, |all| show::list(all))
                }
                Action::Show { id } => {
                    self.output.print(&client.get_configuration(&id).await?, show::configuration)
                }
                Action::Create(create) => {
                    let configuration = create.read(Parts::Configuration)?;
                    let created = client.create_configuration(&configuration).await?;
                    self.output.print(&created, show::configuration)
                }
                Action::Update(update) => update.run(&client, self.output).await,
                Action::Delete(delete) => delete.run(&client, self.output).await,
                Action::Metrics { id } => {
                    self.output.print(&client.get_configuration(&id).await?, show::metrics)
                }
            }
        })
    }
}

impl Update {
    async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        if self.changes.is_empty() {
            bail!("nothing to change: give --target-condition, --priority, --label or --metric");
        }
        let mut configuration: Configuration = client.get_configuration(&self.id).await?;
        self.changes.apply(&mut configuration);
        if self.etag.is_some() {
            configuration.etag = self.etag;
        }
        output.print(&client.update_configuration(&configuration).await?, show::configuration)
    }
}

impl Delete {
    async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        client.delete_configuration(&self.id, self.etag.as_deref()).await?;
        output.done(&json!({ "deleted": self.id }), &format!("deleted {}", self.id))
    }
}

/// Returns whether the content is a deployment to edge devices.
fn is_deployment(content: &ConfigurationContent) -> bool {
    !content.modules_content.is_empty()
}
