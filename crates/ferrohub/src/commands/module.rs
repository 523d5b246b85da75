//! `ferrohub module`: modules of devices in the registry.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ferrohub_model::{DeviceId, IdentityId, ModuleId};
use ferrohub_service::Module;
use serde_json::json;

use super::identity::{
    CredentialArgs, KeyArg, KeyChangeArgs, KeyOperation, authentication_rows, authentication_type,
    connection_state, connection_string, connection_string_warning, print_connection_string, time_or_never,
};
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details, one_line, table};

/// Flags of `ferrohub module`.
#[derive(Debug, Args)]
pub(crate) struct ModuleCommand {
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
    /// Register a module on a device
    Create {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        credentials: CredentialArgs,
        /// Value of managedBy
        #[arg(long, value_name = "TEXT")]
        managed_by: Option<String>,
    },
    /// List the modules of a device, ordered by id
    List {
        /// The device's id
        device: String,
    },
    /// Show a module
    Show(Name),
    /// Change a module
    Update {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        keys: KeyChangeArgs,
        /// Value of managedBy
        #[arg(long, value_name = "TEXT")]
        managed_by: Option<String>,
    },
    /// Delete a module with its twin and messages
    Delete {
        #[command(flatten)]
        name: Name,
        /// Delete only if the etag matches
        #[arg(long)]
        etag: Option<String>,
    },
    /// Regenerate a key of a module, and disconnect it if it used the old one
    RegenerateKey {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        key: KeyArg<KeyOperation>,
        /// Change only if the etag matches
        #[arg(long)]
        etag: Option<String>,
    },
    /// Print the connection string of a module
    ConnectionString {
        #[command(flatten)]
        name: Name,
        /// Use the secondary key
        #[arg(long)]
        secondary: bool,
    },
}

#[derive(Debug, Args)]
struct Name {
    /// The device's id
    device: String,
    /// The module's id
    module: String,
}

impl ModuleCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let access = self.login.access(global)?;
            let client = &access.client;
            match self.action {
                Action::Create { name, credentials, managed_by } => {
                    let authentication = credentials.authentication();
                    let module =
                        Module { managed_by, authentication, ..Module::new(name.device, name.module) };
                    let module = client.create_module(&module).await?;
                    if let Some(warning) = connection_string_warning(&module.module_id) {
                        self.output.warn(&warning);
                    }
                    self.output.print(&module, show)
                }
                Action::List { device } => {
                    self.output.print(&client.list_modules(&device).await?, |all| list(all))
                }
                Action::Show(Name { device, module }) => {
                    self.output.print(&client.get_module(&device, &module).await?, show)
                }
                Action::Update { name, keys, managed_by } => {
                    if keys.is_empty() && managed_by.is_none() {
                        bail!("nothing to change: give --regenerate-key, --swap-keys or --managed-by");
                    }
                    let old = client.get_module(&name.device, &name.module).await?;
                    let mut module = old.clone();
                    keys.apply(module.authentication.as_mut())?;
                    module.managed_by = managed_by.or(module.managed_by);
                    if module == old {
                        self.output.note("nothing changed: the module has these values already");
                        return self.output.print(&module, show);
                    }
                    self.output.print(&client.update_module(&module).await?, show)
                }
                Action::Delete { name: Name { device, module }, etag } => {
                    client.delete_module(&device, &module, etag.as_deref()).await?;
                    self.output.done(
                        &json!({ "deviceId": device, "moduleId": module, "deleted": true }),
                        &format!("deleted the module {device}/{module}"),
                    )
                }
                Action::RegenerateKey { name: Name { device, module }, key, etag } => {
                    let (key, etag) = (key.get()?.into(), etag.as_deref());
                    let module = client.regenerate_module_key(&device, &module, key, etag).await?;
                    self.output.print(&module, show)
                }
                Action::ConnectionString { name: Name { device, module }, secondary } => {
                    let module = client.get_module(&device, &module).await?;
                    let identity = IdentityId::module(
                        &DeviceId::new(&module.device_id)
                            .context("the device id from the hub is not valid")?,
                        &ModuleId::new(&module.module_id)
                            .context("the module id from the hub is not valid")?,
                    );
                    let login = connection_string(&access, identity, module.authentication, secondary)?;
                    print_connection_string(self.output, &login)
                }
            }
        })
    }
}

fn list(modules: &[Module]) -> comfy_table::Table {
    let mut table = table(["ID", "MANAGED BY", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"]);
    for module in modules {
        table.add_row([
            module.module_id.as_str(),
            &one_line(module.managed_by.as_deref().unwrap_or_default()),
            &connection_state(module.connection_state),
            authentication_type(module.authentication.as_ref()),
            &time_or_never(module.last_activity_time),
        ]);
    }
    table
}

fn show(module: &Module) -> comfy_table::Table {
    let mut rows = vec![
        ("Device", module.device_id.clone()),
        ("ID", module.module_id.clone()),
        ("Managed by", one_line(module.managed_by.as_deref().unwrap_or_default())),
        ("Connection", connection_state(module.connection_state)),
        ("Connection since", time_or_never(module.connection_state_updated_time)),
        ("Last activity", time_or_never(module.last_activity_time)),
    ];
    rows.extend(authentication_rows(module.authentication.as_ref()));
    rows.push(("Generation", module.generation_id.clone().unwrap_or_default()));
    rows.push(("Etag", module.etag.clone().unwrap_or_default()));
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}
