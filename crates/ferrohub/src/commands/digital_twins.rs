//! `ferrohub digital-twin`: digital twins of IoT Plug and Play, and commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ferrohub_service::{DigitalTwin, DigitalTwinPatch, ServiceClient};
use serde_json::Value;

use super::methods::{Call, print_response};
use super::twins::contents;
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details};

/// Flags of `ferrohub digital-twin`.
#[derive(Debug, Args)]
pub(crate) struct DigitalTwinCommand {
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
    /// Show a digital twin: reported properties, components and metadata
    Show {
        /// The device's id
        device: String,
    },
    /// Change desired properties with a JSON Patch, and show the digital twin
    Update(Update),
    /// Call a command of a device or of one of its components
    InvokeCommand(InvokeCommand),
}

#[derive(Debug, Args)]
struct Update {
    /// The device's id
    device: String,
    /// An operation or an array of operations, such as '{"op":"add","path":"/thermostat1/targetTemperature","value":21}'
    #[arg(long, value_name = "JSON", required_unless_present = "file", conflicts_with = "file")]
    patch: Option<String>,
    /// Read the patch from a file or from standard input (-)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Change only if the etag matches
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
struct InvokeCommand {
    /// The device's id
    device: String,
    /// The command's name
    command: String,
    /// The component that has the command; without it, the device has it
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    #[command(flatten)]
    call: Call,
}

impl DigitalTwinCommand {
    /// Runs the command. The exit code depends on the status that the device returned.
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<ExitCode> {
        let output = self.output;
        super::block_on(async {
            let client = self.login.access(global)?.client;
            match self.action {
                Action::Show { device } => show(output, &client, &device).await,
                Action::Update(update) => {
                    let (patch, etag) = (update.read()?, update.etag.as_deref());
                    client.update_digital_twin(&update.device, &patch, etag).await?;
                    show(output, &client, &update.device).await
                }
                Action::InvokeCommand(InvokeCommand { device, command, component, call }) => {
                    let command = call.invocation(&command)?;
                    let response = client.invoke_command(&device, component.as_deref(), &command);
                    print_response(output, response).await
                }
            }
        })
    }
}

impl Update {
    fn read(&self) -> anyhow::Result<DigitalTwinPatch> {
        let (text, source) = match (&self.patch, &self.file) {
            (Some(patch), _) => (patch.clone(), "--patch".to_owned()),
            (None, Some(file)) => (contents(file)?, file.display().to_string()),
            (None, None) => bail!("nothing to change: give --patch or --file"),
        };
        // An operation without an array around it is meant as the only one.
        let text = if text.trim_start().starts_with('{') { format!("[{text}]") } else { text };
        DigitalTwinPatch::parse(text.as_bytes()).with_context(|| format!("{source} is not a JSON Patch"))
    }
}

async fn show(output: Output, client: &ServiceClient, device: &str) -> anyhow::Result<ExitCode> {
    let twin = client.get_digital_twin(device).await?;
    output.print(&twin.document, |_| table(&twin))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the values. The JSON output contains the metadata.
fn table(twin: &DigitalTwin) -> comfy_table::Table {
    let text = |name: &str| twin.document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut rows = vec![
        ("Device".to_owned(), text("$dtId")),
        ("Model".to_owned(), twin.model_id().unwrap_or_default().to_owned()),
        ("Etag".to_owned(), twin.etag.clone().unwrap_or_default()),
    ];
    for (name, value) in twin.document.iter().filter(|(name, _)| !name.starts_with('$')) {
        let mut value = value.clone();
        if let Some(component) = value.as_object_mut() {
            component.remove("$metadata");
        }
        rows.push((name.clone(), serde_json::to_string_pretty(&value).unwrap_or_default()));
    }
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}
