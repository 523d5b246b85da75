//! `ferrohub device`: devices in the registry.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ferrohub_model::{DeviceId, IdentityId};
use ferrohub_service::{
    Capabilities, Device, DeviceQuery, RegistryStatistics, ServiceClient, ServiceStatistics, Status,
};
use serde::Serialize;
use serde_json::json;

use super::identity::{
    CredentialArgs, KeyArg, KeyChangeArgs, KeyOperation, authentication_rows, authentication_type,
    connection_state, connection_string, connection_string_warning, print_connection_string, time_or_never,
};
use super::transfer::{Export, Import};
use crate::commands::queries::print_devices;
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details, one_line, plural, table};

/// Flags of `ferrohub device`.
#[derive(Debug, Args)]
pub(crate) struct DeviceCommand {
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
    /// Register a device
    Create(Create),
    /// List devices, ordered by id
    List(List),
    /// Show a device
    Show {
        /// The device's id
        id: String,
    },
    /// Change a device
    Update(Update),
    /// Delete a device with its modules, twin and messages
    Delete {
        /// The device's id
        id: String,
        /// Delete only if the etag matches
        #[arg(long)]
        etag: Option<String>,
    },
    /// Regenerate a key of a device, and disconnect it if it used the old one
    RegenerateKey {
        /// The device's id
        id: String,
        #[command(flatten)]
        key: KeyArg<KeyOperation>,
        /// Change only if the etag matches
        #[arg(long)]
        etag: Option<String>,
    },
    /// Export all devices and modules with their twins to a file
    Export(Export),
    /// Import devices and modules with their twins from a file
    Import(Import),
    /// Count the devices, and those that are connected
    Stats,
    /// Print the connection string of a device
    ConnectionString {
        /// The device's id
        id: String,
        /// Use the secondary key
        #[arg(long)]
        secondary: bool,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only devices whose id starts with this text
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only devices that are connected; with false, only those that are not
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    connected: Option<bool>,
    /// Only devices whose twins meet this condition, such as "tags.building = 7". With JSON, prints the twins
    #[arg(long, value_name = "CONDITION", conflicts_with_all = ["prefix", "connected"])]
    query: Option<String>,
    /// Maximum number of devices
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "all")]
    top: u64,
    /// List all of them
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct Create {
    /// The device's id
    id: String,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Create it disabled: it cannot connect
    #[arg(long)]
    disabled: bool,
    /// Create it as an IoT Edge device
    #[arg(long)]
    edge: bool,
    /// Parent edge device
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
}

#[derive(Debug, Args)]
struct Update {
    /// The device's id
    id: String,
    /// Enable it
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Disable and disconnect it
    #[arg(long)]
    disable: bool,
    /// Status reason; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Set the parent edge device
    #[arg(long, value_name = "ID", conflicts_with = "no_parent")]
    parent: Option<String>,
    /// Remove the parent edge device
    #[arg(long)]
    no_parent: bool,
    #[command(flatten)]
    keys: KeyChangeArgs,
}

impl List {
    fn query(&self) -> DeviceQuery {
        // One more tells whether the list is complete.
        let page_size = if self.all { 1000 } else { self.top.saturating_add(1).min(1000) as u32 };
        let mut query = DeviceQuery::new().page_size(page_size);
        if let Some(prefix) = &self.prefix {
            query = query.prefix(prefix);
        }
        if let Some(connected) = self.connected {
            query = query.connected(connected);
        }
        query
    }

    fn is_filtered(&self) -> bool {
        self.prefix.is_some() || self.connected.is_some()
    }
}

impl DeviceCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        crate::commands::block_on(async {
            let access = self.login.access(global)?;
            let client = &access.client;
            match self.action {
                Action::Create(create) => {
                    let mut device = create.device();
                    if let Some(parent) = &create.parent {
                        device.parent_scopes = Some(vec![edge_scope(client, parent).await?]);
                    }
                    let device = client.create_device(&device).await?;
                    if let Some(warning) = connection_string_warning(&device.device_id) {
                        self.output.warn(&warning);
                    }
                    self.output.print(&device, show)
                }
                Action::List(List { query: Some(condition), top, all, .. }) => {
                    let top = if all { usize::MAX } else { usize::try_from(top)? };
                    print_devices(self.output, client, &condition, top).await
                }
                Action::List(options) => {
                    let mut stream = client.devices(&options.query());
                    let top = if options.all { usize::MAX } else { options.top as usize };
                    let mut devices = Vec::new();
                    let mut is_complete = false;
                    while devices.len() < top && !is_complete {
                        match stream.next().await.transpose()? {
                            Some(device) => devices.push(device),
                            None => is_complete = true,
                        }
                    }
                    is_complete = is_complete || stream.next().await.transpose()?.is_none();
                    self.output.print(&devices, |all| list(all))?;
                    if !is_complete {
                        let hint = "list more with --top or --all";
                        let shown = devices.len();
                        self.output.warn(&match stream.total().filter(|_| !options.is_filtered()) {
                            Some(total) => format!("showing {shown} of {}; {hint}", plural(total, "device")),
                            None => format!("showing the first {}; {hint}", plural(shown as u64, "device")),
                        });
                    }
                    Ok(())
                }
                Action::Show { id } => self.output.print(&client.get_device(&id).await?, show),
                Action::Update(update) => {
                    if update.is_empty() {
                        bail!(
                            "nothing to change: give --enable, --disable, --reason, --parent, --no-parent, \
                             --regenerate-key or --swap-keys"
                        );
                    }
                    let old = client.get_device(&update.id).await?;
                    let mut device = old.clone();
                    update.apply(&mut device)?;
                    if let Some(parent) = &update.parent {
                        device.parent_scopes = Some(vec![edge_scope(client, parent).await?]);
                    }
                    if device == old {
                        self.output.note("nothing changed: the device has these values already");
                        return self.output.print(&device, show);
                    }
                    self.output.print(&client.update_device(&device).await?, show)
                }
                Action::Delete { id, etag } => {
                    client.delete_device(&id, etag.as_deref()).await?;
                    self.output.done(
                        &json!({ "deviceId": id, "deleted": true }),
                        &format!("deleted the device {id}"),
                    )
                }
                Action::RegenerateKey { id, key, etag } => {
                    let device =
                        client.regenerate_device_key(&id, key.get()?.into(), etag.as_deref()).await?;
                    self.output.print(&device, show)
                }
                Action::Export(export) => export.run(client, self.output).await,
                Action::Import(import) => import.run(client, self.output).await,
                Action::Stats => {
                    let (registry, service) =
                        (client.get_registry_statistics().await?, client.get_service_statistics().await?);
                    self.output.print(&Counts { registry, service }, counts)
                }
                Action::ConnectionString { id, secondary } => {
                    let device = client.get_device(&id).await?;
                    let identity = device_identity(&device)?;
                    let login = connection_string(&access, identity, device.authentication, secondary)?;
                    print_connection_string(self.output, &login)
                }
            }
        })
    }
}

impl Create {
    fn device(&self) -> Device {
        Device {
            authentication: self.credentials.authentication(),
            capabilities: self.edge.then_some(Capabilities { iot_edge: true }),
            ..Device::new(&self.id).with_status(if self.disabled {
                Status::Disabled
            } else {
                Status::Enabled
            })
        }
    }
}

impl Update {
    fn is_empty(&self) -> bool {
        let flags = [self.enable, self.disable, self.no_parent];
        !flags.contains(&true) && self.reason.is_none() && self.parent.is_none() && self.keys.is_empty()
    }

    fn apply(&self, device: &mut Device) -> anyhow::Result<()> {
        if self.enable || self.disable {
            device.status = Some(if self.disable { Status::Disabled } else { Status::Enabled });
        }
        if let Some(reason) = &self.reason {
            device.status_reason = Some(reason.clone()).filter(|reason| !reason.is_empty());
        }
        if self.no_parent {
            device.parent_scopes = Some(Vec::new());
        }
        self.keys.apply(device.authentication.as_mut())
    }
}

/// Returns the scope of an edge device.
async fn edge_scope(client: &ServiceClient, edge: &str) -> anyhow::Result<String> {
    let device = client.get_device(edge).await?;
    let is_edge = device.capabilities.is_some_and(|capabilities| capabilities.iot_edge);
    device.device_scope.filter(|_| is_edge).with_context(|| {
        format!("{edge} is not an edge device, so it cannot be a parent; create it with --edge")
    })
}

/// Returns the identity of a device.
pub(crate) fn device_identity(device: &Device) -> anyhow::Result<IdentityId> {
    Ok(DeviceId::new(&device.device_id).context("the device id from the hub is not valid")?.into())
}

/// The statistics of the registry and of connections.
#[derive(Serialize)]
struct Counts {
    #[serde(flatten)]
    registry: RegistryStatistics,
    #[serde(flatten)]
    service: ServiceStatistics,
}

fn counts(counts: &Counts) -> comfy_table::Table {
    let Counts { registry, service } = counts;
    details([
        ("Devices", registry.total_device_count.to_string()),
        ("Enabled", registry.enabled_device_count.to_string()),
        ("Disabled", registry.disabled_device_count.to_string()),
        ("Connected", service.connected_device_count.to_string()),
    ])
}

fn list(devices: &[Device]) -> comfy_table::Table {
    let mut table = table(["ID", "STATUS", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"]);
    for device in devices {
        table.add_row([
            device.device_id.as_str(),
            device.status.map(Status::name).unwrap_or_default(),
            &connection_state(device.connection_state),
            authentication_type(device.authentication.as_ref()),
            &time_or_never(device.last_activity_time),
        ]);
    }
    table
}

fn show(device: &Device) -> comfy_table::Table {
    let mut rows = vec![
        ("ID", device.device_id.clone()),
        ("Status", device.status.map(Status::name).unwrap_or_default().to_owned()),
        ("Status reason", one_line(device.status_reason.as_deref().unwrap_or_default())),
        ("Connection", connection_state(device.connection_state)),
        ("Connection since", time_or_never(device.connection_state_updated_time)),
        ("Last activity", time_or_never(device.last_activity_time)),
    ];
    rows.extend(authentication_rows(device.authentication.as_ref()));
    if device.capabilities.is_some_and(|capabilities| capabilities.iot_edge) {
        rows.push(("Edge scope", device.device_scope.clone().unwrap_or_default()));
    }
    rows.push(("Parent", device.parent_scopes.clone().unwrap_or_default().join(", ")));
    rows.push(("Generation", device.generation_id.clone().unwrap_or_default()));
    rows.push(("Etag", device.etag.clone().unwrap_or_default()));
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}
