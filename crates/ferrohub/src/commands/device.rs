//! `ferrohub device`: the registry.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ferrohub_model::{DeviceId, IdentityId};
use ferrohub_service::{Device, Status};

use super::identity::{KeyChange, Proof, connection_string, kind, proof_rows, state, when};
use crate::cli::Common;
use crate::login::Login;
use crate::output::{self, Output, details, table};

/// Flags of `ferrohub device`.
#[derive(Debug, Args)]
pub(crate) struct DeviceCommand {
    #[command(flatten)]
    login: Login,
    /// How to print
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Register a device
    Create(Create),
    /// List devices in the order of their ids
    List {
        /// How many at most
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1000))]
        top: u32,
    },
    /// Show a device
    Show {
        /// The device's id
        id: String,
    },
    /// Change a device
    Update(Update),
    /// Delete a device and everything of it
    Delete {
        /// The device's id
        id: String,
        /// Only if the device is still the one with this etag
        #[arg(long)]
        etag: Option<String>,
    },
    /// Print what a device connects with
    ConnectionString {
        /// The device's id
        id: String,
        /// With the secondary key
        #[arg(long)]
        secondary: bool,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The device's id
    id: String,
    #[command(flatten)]
    proof: Proof,
    /// It may not connect yet
    #[arg(long)]
    disabled: bool,
}

#[derive(Debug, Args)]
struct Update {
    /// The device's id
    id: String,
    /// Let it connect
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Disconnect it and let it connect no more
    #[arg(long)]
    disable: bool,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    keys: KeyChange,
}

impl DeviceCommand {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        super::block_on(async {
            let access = self.login.access(common)?;
            let client = &access.client;
            match self.what {
                What::Create(create) => {
                    let device = client.create_device(&create.device()).await?;
                    self.output.print(&device, show)
                }
                What::List { top } => self.output.print(&client.list_devices(top).await?, |all| list(all)),
                What::Show { id } => self.output.print(&client.get_device(&id).await?, show),
                What::Update(update) => {
                    let mut device = client.get_device(&update.id).await?;
                    update.apply(&mut device)?;
                    self.output.print(&client.update_device(&device).await?, show)
                }
                What::Delete { id, etag } => {
                    client.delete_device(&id, etag.as_deref()).await?;
                    eprintln!("{id} is deleted");
                    Ok(())
                }
                What::ConnectionString { id, secondary } => {
                    let device = client.get_device(&id).await?;
                    let identity = device_identity(&device)?;
                    let login = connection_string(&access, identity, device.authentication, secondary)?;
                    output::line(&login.reveal())
                }
            }
        })
    }
}

impl Create {
    fn device(&self) -> Device {
        Device {
            authentication: self.proof.authentication(),
            ..Device::new(&self.id).with_status(if self.disabled {
                Status::Disabled
            } else {
                Status::Enabled
            })
        }
    }
}

impl Update {
    fn apply(&self, device: &mut Device) -> anyhow::Result<()> {
        if self.enable || self.disable {
            device.status = Some(if self.disable { Status::Disabled } else { Status::Enabled });
        }
        if let Some(reason) = &self.reason {
            device.status_reason = Some(reason.clone()).filter(|reason| !reason.is_empty());
        }
        self.keys.apply(device.authentication.as_mut())
    }
}

/// Who a device is.
pub(crate) fn device_identity(device: &Device) -> anyhow::Result<IdentityId> {
    Ok(DeviceId::new(&device.device_id).context("the device's id")?.into())
}

fn list(devices: &[Device]) -> comfy_table::Table {
    let mut table = table(["ID", "STATUS", "STATE", "AUTHENTICATION", "LAST ACTIVITY"]);
    for device in devices {
        table.add_row([
            device.device_id.as_str(),
            device.status.map(Status::name).unwrap_or_default(),
            &state(device.connection_state),
            kind(device.authentication.as_ref()),
            &when(device.last_activity_time),
        ]);
    }
    table
}

fn show(device: &Device) -> comfy_table::Table {
    let mut rows = vec![
        ("ID", device.device_id.clone()),
        ("Status", device.status.map(Status::name).unwrap_or_default().to_owned()),
        ("Reason", device.status_reason.clone().unwrap_or_default()),
        ("State", state(device.connection_state)),
        ("State since", when(device.connection_state_updated_time)),
        ("Last activity", when(device.last_activity_time)),
    ];
    rows.extend(proof_rows(device.authentication.as_ref()));
    rows.push(("Generation", device.generation_id.clone().unwrap_or_default()));
    rows.push(("Etag", device.etag.clone().unwrap_or_default()));
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}
