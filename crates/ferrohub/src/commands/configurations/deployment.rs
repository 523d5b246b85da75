//! `ferrohub deployment`: modules of edge devices.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::document::{Create, Parts, read_content};
use super::{Delete, MAX_TOP, Update, is_deployment, show};
use crate::commands::block_on;
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::Output;

/// Flags of `ferrohub deployment`.
#[derive(Debug, Args)]
pub(crate) struct DeploymentCommand {
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
    /// List deployments, ordered by id
    List,
    /// Show a deployment
    Show {
        /// The deployment's id
        id: String,
    },
    /// Create a deployment: one that sets single properties, such as "properties.desired.modules.m", is layered over others
    Create(Create),
    /// Change the target condition, priority, labels or metrics of a deployment
    Update(Update),
    /// Delete a deployment; its settings are removed from the modules
    Delete(Delete),
    /// Show the results of the metrics of a deployment
    Metrics {
        /// The deployment's id
        id: String,
    },
    /// Set the modules of one edge device, once
    SetModules(SetModules),
}

#[derive(Debug, Args)]
struct SetModules {
    /// The device's id
    device: String,
    /// The content in JSON: {"modulesContent":{"$edgeAgent":{"properties.desired":{…}},…}}
    #[arg(long, value_name = "JSON", required_unless_present = "file", conflicts_with = "file")]
    content: Option<String>,
    /// Read the content from a file, or from standard input (-)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl DeploymentCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        block_on(async {
            let client = self.login.access(global)?.client;
            match self.action {
                Action::List => {
                    let all = client.list_configurations(MAX_TOP).await?;
                    let all: Vec<_> = all.into_iter().filter(|one| is_deployment(&one.content)).collect();
                    self.output.print(&all, |all| show::list(all))
                }
                Action::Show { id } => {
                    self.output.print(&client.get_configuration(&id).await?, show::configuration)
                }
                Action::Create(create) => {
                    let created = client.create_configuration(&create.read(Parts::Deployment)?).await?;
                    self.output.print(&created, show::configuration)
                }
                Action::Update(update) => update.run(&client, self.output).await,
                Action::Delete(delete) => delete.run(&client, self.output).await,
                Action::Metrics { id } => {
                    self.output.print(&client.get_configuration(&id).await?, show::metrics)
                }
                Action::SetModules(set) => {
                    let content =
                        read_content(set.content.as_deref(), set.file.as_deref(), Parts::Deployment)?;
                    client.apply_configuration_content(&set.device, &content).await?;
                    let sentence = format!("set the modules of {}", set.device);
                    self.output.done(&json!({ "modulesSet": set.device }), &sentence)
                }
            }
        })
    }
}
