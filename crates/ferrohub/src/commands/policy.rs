//! `ferrohub policy`: the hub's shared access policies.

use clap::{Args, Subcommand};
use ferrohub_model::{ServiceConnectionString, SharedAccessKey};
use ferrohub_service::{Policy, PolicyKey};

use super::identity::{KeyArg, KeyName};
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details, table};

/// Flags of `ferrohub policy`.
#[derive(Debug, Args)]
pub(crate) struct PolicyCommand {
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
    /// List the policies and their rights
    List,
    /// Show a policy with its keys and connection string
    Show {
        /// The policy's name
        name: String,
    },
    /// Regenerate one key of a policy; the other one stays valid
    RegenerateKey {
        /// The policy's name
        name: String,
        #[command(flatten)]
        key: KeyArg<KeyName>,
    },
}

impl PolicyCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let access = self.login.access(global)?;
            let management = access.client.management();
            let policy = match self.action {
                Action::List => {
                    // The list contains no keys.
                    return match self.output {
                        Output::Table => {
                            Output::Table.print(&management.list_policies().await?, |all| list(all))
                        }
                        Output::Json => {
                            Output::Json.print(&names(&management.list_policies().await?), |_| table([]))
                        }
                    };
                }
                Action::Show { name } => management.get_policy(&name).await?,
                Action::RegenerateKey { name, key } => {
                    let key = match key.get()? {
                        KeyName::Primary => PolicyKey::Primary,
                        KeyName::Secondary => PolicyKey::Secondary,
                    };
                    management.regenerate_policy_key(&name, key).await?
                }
            };
            self.output.print(&policy, |policy| show(&access.host, policy))
        })
    }
}

/// Returns the policies without their keys.
fn names(policies: &[Policy]) -> serde_json::Value {
    let one = |policy: &Policy| serde_json::json!({ "name": policy.name, "rights": policy.rights, "source": policy.source });
    policies.iter().map(one).collect()
}

fn list(policies: &[Policy]) -> comfy_table::Table {
    let mut table = table(["NAME", "RIGHTS", "SOURCE"]);
    for policy in policies {
        table.add_row([policy.name.as_str(), &policy.rights.join(", "), &policy.source]);
    }
    table
}

fn show(host: &str, policy: &Policy) -> comfy_table::Table {
    let login = SharedAccessKey::from_base64(&policy.primary_key).map(|key| {
        ServiceConnectionString { host_name: host.to_owned(), policy: policy.name.clone(), key }.reveal()
    });
    details([
        ("Name", policy.name.clone()),
        ("Rights", policy.rights.join(", ")),
        ("Source", policy.source.clone()),
        ("Primary key", policy.primary_key.clone()),
        ("Secondary key", policy.secondary_key.clone()),
        ("Connection string", login.unwrap_or_default()),
    ])
}
