//! `ferrohub upload`: uploads a file as a device.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ferrohub_device::FileUpload;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::device_client;
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details};

/// Flags of `ferrohub upload`.
#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// The device's id
    device: String,
    /// The file
    file: PathBuf,
    /// Blob name; may contain slashes [default: the file name]
    #[arg(long)]
    name: Option<String>,
    /// Media type of the blob
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    login: Login,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Serialize)]
struct Uploaded {
    name: String,
    uri: String,
    bytes: u64,
}

impl Upload {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let uploaded = super::block_on(async {
            let client = device_client::from_id(&self.login.access(global)?, &self.device, false).await?;
            let name = match (&self.name, self.file.file_name()) {
                (Some(name), _) => name.clone(),
                (None, Some(name)) => name.to_string_lossy().into_owned(),
                (None, None) => anyhow::bail!("{} is not a regular file", self.file.display()),
            };
            let cannot_read = || format!("cannot read {}", self.file.display());
            let file = tokio::fs::File::open(&self.file).await.with_context(cannot_read)?;
            let metadata = file.metadata().await.with_context(cannot_read)?;
            anyhow::ensure!(metadata.is_file(), "{} is not a regular file", self.file.display());
            let style = ProgressStyle::with_template("{bytes} of {total_bytes} {bar:30} {bytes_per_sec}")?;
            let bar = ProgressBar::new(metadata.len()).with_style(style);
            let progress = bar.clone();
            let mut upload =
                FileUpload::from_reader(name, file).on_progress(move |bytes| progress.set_position(bytes));
            if let Some(content_type) = &self.content_type {
                upload = upload.content_type(content_type);
            }
            let uploaded = client.upload_file(upload).await;
            bar.finish_and_clear();
            let uploaded = uploaded?;
            Ok(Uploaded {
                name: uploaded.blob_name,
                uri: uploaded.blob_uri,
                bytes: uploaded.blob_size_in_bytes,
            })
        })?;
        self.output.print(&uploaded, |uploaded| {
            details([
                ("Name", uploaded.name.clone()),
                ("URL", uploaded.uri.clone()),
                ("Bytes", uploaded.bytes.to_string()),
            ])
        })
    }
}
