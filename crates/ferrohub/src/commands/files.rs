//! `ferrohub files`: the files that devices uploaded to the hub's file folder.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ferrohub_service::{FileQuery, StoredFile};

use crate::cli::Common;
use crate::login::Login;
use crate::output::{Output, table};

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
        #[arg(long, default_value_t = 1000)]
        top: usize,
    },
    /// Download a file
    Get {
        /// DEVICE/FILE, as `list` prints it
        name: String,
        /// File to write to [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Delete a file
    Delete {
        /// DEVICE/FILE, as `list` prints it
        name: String,
    },
}

impl FilesCommand {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        super::block_on(async {
            let client = self.login.access(common)?.client;
            match self.action {
                Action::List { device, after, top } => {
                    let mut query = FileQuery::new().top(top);
                    if let Some(device) = device {
                        query = query.device_id(device);
                    }
                    if let Some(after) = after {
                        query = query.after(after);
                    }
                    self.output.print(&client.list_files(&query).await?, |files| list(files))
                }
                Action::Get { name, to } => {
                    let mut content = client.open_file(&name).await?;
                    let mut out: Box<dyn Write> = match &to {
                        Some(path) => Box::new(
                            std::fs::File::create(path)
                                .with_context(|| format!("cannot write {}", path.display()))?,
                        ),
                        None => Box::new(std::io::stdout()),
                    };
                    while let Some(bytes) = content.next().await {
                        out.write_all(&bytes?).context("cannot write the file")?;
                    }
                    Ok(out.flush()?)
                }
                Action::Delete { name } => Ok(client.delete_file(&name).await?),
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
