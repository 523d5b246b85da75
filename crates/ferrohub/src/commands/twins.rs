//! `ferrohub twin`: twins of devices and modules.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ferrohub_service::{Properties, SectionChange, Twin, TwinChange};

use super::registry::{connection_state, time_or_never};
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details};

/// Flags of `ferrohub twin`.
#[derive(Debug, Args)]
pub(crate) struct TwinCommand {
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
    /// Show a twin
    Show {
        /// The device's id, or DEVICE/MODULE
        id: String,
    },
    /// Merge a patch into a twin: null deletes a property
    Update(Change),
    /// Replace the tags, the desired properties or both
    Replace(Change),
}

#[derive(Debug, Args)]
struct Change {
    /// The device's id, or DEVICE/MODULE
    id: String,
    /// Tags, a JSON object; null removes all
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    tags: Option<String>,
    /// Desired properties, a JSON object; null removes all
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    desired: Option<String>,
    /// Read the twin from a file or from standard input (-): {"tags":{…},"properties":{"desired":{…}}}
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Change only if the etag matches
    #[arg(long)]
    etag: Option<String>,
}

impl TwinCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let client = self.login.access(global)?.client;
            let twin = match self.action {
                Action::Show { id } => client.get_twin(&id).await?,
                Action::Update(change) => {
                    client.update_twin(&change.id, &change.read()?, change.etag.as_deref()).await?
                }
                Action::Replace(change) => {
                    client.replace_twin(&change.id, &change.read()?, change.etag.as_deref()).await?
                }
            };
            self.output.print(&twin, show)
        })
    }
}

impl Change {
    fn read(&self) -> anyhow::Result<TwinChange> {
        if let Some(file) = &self.file {
            let change: TwinChange = serde_json::from_str(&contents(file)?).with_context(|| {
                let form = r#"{"tags": {…}, "properties": {"desired": {…}}}"#;
                format!("{} is not a JSON document of the form {form}", file.display())
            })?;
            if change == TwinChange::default() {
                bail!("{} has neither \"tags\" nor \"properties\".\"desired\"", file.display());
            }
            return Ok(change);
        }
        let tags = parse_section("--tags", self.tags.as_deref())?;
        let change = match (parse_section("--desired", self.desired.as_deref())?, tags) {
            (None, None) => bail!("nothing to change: give --tags, --desired or --file"),
            (None, Some(tags)) => TwinChange::tags(tags),
            (Some(desired), None) => TwinChange::desired(desired),
            (Some(desired), Some(tags)) => TwinChange::desired(desired).and_tags(tags),
        };
        Ok(change)
    }
}

/// Parses a change of a section: an object, or `null`, which removes all of it.
fn parse_section(flag: &str, text: Option<&str>) -> anyhow::Result<Option<SectionChange>> {
    text.map(|text| {
        SectionChange::parse(text).with_context(|| format!("{flag} is neither a JSON object nor null"))
    })
    .transpose()
}

/// Reads a file, or standard input for `-`.
pub(super) fn contents(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn show(twin: &Twin) -> comfy_table::Table {
    let properties = twin.properties.clone().unwrap_or_default();
    let version = |section: Option<&Properties>| section.and_then(ferrohub_model::twin::version);
    let rows = [
        ("Device", twin.device_id.clone()),
        ("Module", twin.module_id.clone().unwrap_or_default()),
        ("Connection", connection_state(twin.connection_state)),
        ("Last activity", time_or_never(twin.last_activity_time)),
        ("Model", twin.model_id.clone().unwrap_or_default()),
        ("Tags", pretty(twin.tags.as_ref())),
        ("Desired", pretty(properties.desired.as_ref())),
        ("Desired version", number(version(properties.desired.as_ref()))),
        ("Reported", pretty(properties.reported.as_ref())),
        ("Reported version", number(version(properties.reported.as_ref()))),
        ("Version", number(twin.version)),
        ("Etag", twin.etag.clone().unwrap_or_default()),
    ];
    details(rows.into_iter().filter(|(_, value)| !value.is_empty()))
}

fn number(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// Formats the values without metadata. The JSON output contains the metadata.
fn pretty(section: Option<&Properties>) -> String {
    let values = section.into_iter().flatten().filter(|(key, _)| !key.starts_with('$'));
    let values: Properties = values.map(|(key, value)| (key.clone(), value.clone())).collect();
    serde_json::to_string_pretty(&values).unwrap_or_default()
}
