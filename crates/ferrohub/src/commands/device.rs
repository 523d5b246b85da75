//! `ferrohub device`: the registry.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use ferrohub_model::connection_string::DeviceCredential;
use ferrohub_model::{DeviceConnectionString, DeviceId, IdentityId, SharedAccessKey, Timestamp};
use ferrohub_service::{AuthenticationType, Device, Status};

use crate::cli::Common;
use crate::login::{Access, Login};
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

/// How a device proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Auth {
    /// With a shared access key
    #[default]
    Sas,
    /// With a certificate that the hub knows by its thumbprint
    SelfSigned,
    /// With a certificate from a certificate authority that the hub knows
    CertificateAuthority,
}

#[derive(Debug, Args)]
struct Create {
    /// The device's id
    id: String,
    /// How it proves itself
    #[arg(long, value_enum, default_value_t)]
    auth: Auth,
    /// Its first key, in base64 [default: the hub makes both]
    #[arg(long, requires = "secondary_key", value_name = "BASE64")]
    primary_key: Option<String>,
    /// Its second key, in base64
    #[arg(long, requires = "primary_key", value_name = "BASE64")]
    secondary_key: Option<String>,
    /// SHA-1 or SHA-256 of its certificate, in hexadecimal digits
    #[arg(long, required_if_eq("auth", "self-signed"), value_name = "HEX")]
    primary_thumbprint: Option<String>,
    /// The same of a second certificate
    #[arg(long, requires = "primary_thumbprint", value_name = "HEX")]
    secondary_thumbprint: Option<String>,
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
    /// Replace a key by a new random one
    #[arg(long, value_enum, value_name = "KEY")]
    regenerate_key: Option<WhichKey>,
    /// Exchange primary and secondary key
    #[arg(long, conflicts_with = "regenerate_key")]
    swap_keys: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WhichKey {
    /// The first
    Primary,
    /// The second
    Secondary,
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
                    output::line(&connection_string(&access, &device, secondary)?.reveal())
                }
            }
        })
    }
}

impl Create {
    fn device(&self) -> Device {
        let device = Device::new(&self.id);
        let device = match (self.auth, &self.primary_key, &self.secondary_key, &self.primary_thumbprint) {
            (Auth::SelfSigned, _, _, Some(thumbprint)) => {
                device.with_thumbprints(thumbprint, self.secondary_thumbprint.clone())
            }
            (Auth::CertificateAuthority, ..) => device.with_certificate_authority(),
            (Auth::Sas, Some(primary), Some(secondary), _) => device.with_keys(primary, secondary),
            _ => device,
        };
        device.with_status(if self.disabled { Status::Disabled } else { Status::Enabled })
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
        if self.regenerate_key.is_none() && !self.swap_keys {
            return Ok(());
        }
        let keys = device.authentication.as_mut().and_then(|auth| auth.symmetric_key.as_mut());
        let keys = keys.context("the device has no keys")?;
        let fresh = || Some(SharedAccessKey::generate().to_base64());
        match self.regenerate_key {
            Some(WhichKey::Primary) => keys.primary_key = fresh(),
            Some(WhichKey::Secondary) => keys.secondary_key = fresh(),
            None => std::mem::swap(&mut keys.primary_key, &mut keys.secondary_key),
        }
        Ok(())
    }
}

/// What a device connects with.
pub(crate) fn connection_string(
    access: &Access,
    device: &Device,
    secondary: bool,
) -> anyhow::Result<DeviceConnectionString> {
    let authentication = device.authentication.clone().unwrap_or_default();
    let credential = match authentication.kind {
        Some(AuthenticationType::Sas) | None => {
            let keys = authentication.symmetric_key.unwrap_or_default();
            let key = if secondary { keys.secondary_key } else { keys.primary_key };
            let key = key.context("the hub did not tell the device's key: the login may not read it")?;
            DeviceCredential::Key(SharedAccessKey::from_base64(&key).context("the device's key")?)
        }
        Some(AuthenticationType::None) => bail!("{} has no way to connect", device.device_id),
        Some(_) => DeviceCredential::X509,
    };
    let id = DeviceId::new(&device.device_id).context("the device's id")?;
    Ok(DeviceConnectionString {
        host_name: access.host.clone(),
        identity: IdentityId::device(&id),
        credential,
        gateway_host_name: None,
    })
}

fn kind(device: &Device) -> &'static str {
    let kind = device.authentication.as_ref().and_then(|authentication| authentication.kind);
    kind.unwrap_or_default().name()
}

fn state(device: &Device) -> String {
    device.connection_state.map(|state| format!("{state:?}")).unwrap_or_default()
}

/// The year 1 stands for never.
fn when(time: Option<Timestamp>) -> String {
    match time {
        Some(time) if time > Timestamp::from_unix_millis(0) => time.to_string(),
        _ => "never".to_owned(),
    }
}

fn list(devices: &[Device]) -> comfy_table::Table {
    let mut table = table(["ID", "STATUS", "STATE", "AUTHENTICATION", "LAST ACTIVITY"]);
    for device in devices {
        table.add_row([
            device.device_id.as_str(),
            device.status.map(Status::name).unwrap_or_default(),
            &state(device),
            kind(device),
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
        ("State", state(device)),
        ("State since", when(device.connection_state_updated_time)),
        ("Last activity", when(device.last_activity_time)),
        ("Authentication", kind(device).to_owned()),
    ];
    if let Some(authentication) = &device.authentication {
        if let Some(thumbprints) = &authentication.x509_thumbprint {
            rows.push(("Thumbprint", thumbprints.primary_thumbprint.clone().unwrap_or_default()));
            rows.push(("Second thumbprint", thumbprints.secondary_thumbprint.clone().unwrap_or_default()));
        }
        if let Some(keys) = &authentication.symmetric_key {
            rows.push(("Primary key", keys.primary_key.clone().unwrap_or_default()));
            rows.push(("Secondary key", keys.secondary_key.clone().unwrap_or_default()));
        }
    }
    rows.push(("Generation", device.generation_id.clone().unwrap_or_default()));
    rows.push(("Etag", device.etag.clone().unwrap_or_default()));
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}
