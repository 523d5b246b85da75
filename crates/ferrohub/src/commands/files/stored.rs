//! `ferrohub files`: the files that devices uploaded to the hub's file folder, and the container for import and export.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ferrohub_service::{FileQuery, StoredFile};
use serde_json::json;

use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{self, Output, plural, table};

/// Flags of `ferrohub files`.
#[derive(Debug, Args)]
pub(crate) struct FilesCommand {
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
    /// List files
    List {
        /// Only files of this device
        #[arg(long, value_name = "DEVICE")]
        device: Option<String>,
        /// Only files after this name, for the next page
        #[arg(long, value_name = "NAME")]
        after: Option<String>,
        /// Maximum number of files, 1 to 1000
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000))]
        top: u16,
    },
    /// Download a file
    Get {
        /// DEVICE/FILE, as `list` prints it
        name: String,
        /// File to write to [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Print a signed URL of the hub's container for import and export jobs
    ContainerUrl {
        /// How long the URL is valid, in seconds: up to 604800, which is seven days
        #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
        expires_in: u64,
    },
    /// Delete a file
    Delete {
        /// DEVICE/FILE, as `list` prints it
        name: String,
    },
}

impl FilesCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        crate::commands::block_on(async {
            let client = self.login.access(global)?.client;
            match self.action {
                Action::List { device, after, top } => {
                    let mut query = FileQuery::new().top(top.into());
                    if let Some(device) = device {
                        query = query.device_id(device);
                    }
                    if let Some(after) = after {
                        query = query.after(after);
                    }
                    let files = client.list_files(&query).await?;
                    self.output.print(&files, |files| list(files))?;
                    if let Some(last) = files.last().filter(|_| files.len() == usize::from(top)) {
                        let shown = plural(files.len() as u64, "file");
                        let next = &last.blob_name;
                        self.output.warn(&format!(
                            "showing {shown}; there may be more: --after '{next}' shows the next page"
                        ));
                    }
                    Ok(())
                }
                Action::Get { name, to: None } => {
                    let mut content = client.open_file(&name).await?;
                    while let Some(bytes) = content.next().await {
                        let bytes = bytes?;
                        output::print_bytes(&bytes)?;
                    }
                    Ok(())
                }
                Action::Get { name, to: Some(path) } => {
                    let mut content = client.open_file(&name).await?;
                    let cannot_write = || format!("cannot write {}", path.display());
                    let mut file = std::fs::File::create(&path).with_context(cannot_write)?;
                    let mut total = 0;
                    while let Some(bytes) = content.next().await {
                        let bytes = bytes?;
                        file.write_all(&bytes).with_context(cannot_write)?;
                        total += bytes.len();
                    }
                    let report = json!({ "blobName": name, "bytes": total, "file": path });
                    let size = plural(total as u64, "byte");
                    self.output.done(&report, &format!("wrote {size} to {}", path.display()))
                }
                Action::ContainerUrl { expires_in } => {
                    let validity = Duration::from_secs(expires_in);
                    let container = client.create_container_url(Some(validity)).await?;
                    let report = json!({ "url": container.url(), "expiryTimeUtc": container.expiry() });
                    self.output.print_each(&report, |_| container.url().to_owned())
                }
                Action::Delete { name } => {
                    client.delete_file(&name).await?;
                    let report = json!({ "blobName": name, "deleted": true });
                    self.output.done(&report, &format!("deleted the file {name}"))
                }
            }
        })
    }
}

fn list(files: &[StoredFile]) -> comfy_table::Table {
    let mut table = table(["NAME", "BYTES", "LAST UPDATED", "TYPE"]);
    for file in files {
        table.add_row([
            file.blob_name.as_str(),
            &file.blob_size_in_bytes.to_string(),
            &file.last_updated_time.to_string(),
            file.content_type.as_deref().unwrap_or_default(),
        ]);
    }
    table
}
