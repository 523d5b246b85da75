//! `ferrohub device export` and `ferrohub device import`: all devices and modules in a file, and all configurations in another.
//!
//! The hub does the work in a job, which reads or writes a blob of the hub's own container. The file goes to or comes from
//! there.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ferrohub_model::Guid;
use ferrohub_service::{
    BlobContainer, ErrorKind, ImportExportJob, ImportExportRequest, JobStatus, ServiceClient,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::output::{Output, one_line, plural, table};

/// The blobs that the hub writes what failed to.
const ERRORS_BLOBS: [&str; 2] = ["importErrors.log", "importConfigErrors.log"];
/// The number of failed lines that a table shows.
const MAX_SHOWN: usize = 20;

/// Flags of `ferrohub device export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// File to write to, one line of JSON for each device and module
    file: PathBuf,
    /// Leave out the keys
    #[arg(long)]
    exclude_keys: bool,
    /// Export the configurations as well, to this file
    #[arg(long, value_name = "FILE")]
    configurations: Option<PathBuf>,
}

/// Flags of `ferrohub device import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// File to read, as `export` or Azure IoT Hub writes it
    file: PathBuf,
    /// Import the configurations in this file as well, after the devices
    #[arg(long, value_name = "FILE")]
    configurations: Option<PathBuf>,
}

/// The result of an import.
#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    job: ImportExportJob,
    errors: Vec<Value>,
}

impl Export {
    pub(super) async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        let container = client.create_container_url(None).await?;
        let (devices, configurations) = (blob_name("export"), blob_name("configurations"));
        let request = ImportExportRequest {
            output_blob_name: Some(devices.clone()),
            exclude_keys_in_export: Some(self.exclude_keys),
            include_configurations: Some(self.configurations.is_some()),
            configurations_blob_name: Some(configurations.clone()),
            ..ImportExportRequest::export(container.url())
        };
        let exported = run_job(client, &request).await;
        let mut saved = Ok(());
        if exported.is_ok() {
            saved = save(&container, &devices, &self.file).await;
            if let (Ok(()), Some(file)) = (&saved, &self.configurations) {
                saved = save(&container, &configurations, file).await;
            }
        }
        // They contain keys, and what configurations set may be secret.
        let removed = [remove(&container, &devices).await, remove(&container, &configurations).await];
        let job = exported?;
        saved?;
        removed.into_iter().collect::<anyhow::Result<()>>()?;
        let lines = plural(job.items_done, "line");
        let files = match &self.configurations {
            Some(configurations) => format!("{} and {}", self.file.display(), configurations.display()),
            None => self.file.display().to_string(),
        };
        output.done(
            &json!({ "file": self.file, "configurations": self.configurations, "itemsDone": job.items_done }),
            &format!("exported {lines} to {files}"),
        )
    }
}

impl Import {
    pub(super) async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        let container = client.create_container_url(None).await?;
        let (devices, configurations) = (blob_name("import"), blob_name("configurations"));
        let mut imported = send(&container, &devices, &self.file).await;
        if let (Ok(()), Some(file)) = (&imported, &self.configurations) {
            imported = send(&container, &configurations, file).await;
        }
        let request = ImportExportRequest {
            input_blob_name: Some(devices.clone()),
            include_configurations: Some(self.configurations.is_some()),
            configurations_blob_name: Some(configurations.clone()),
            ..ImportExportRequest::import(container.url(), container.url())
        };
        let imported = match imported {
            Ok(()) => run_job(client, &request).await,
            Err(error) => Err(error),
        };
        let removed = [remove(&container, &devices).await, remove(&container, &configurations).await];
        let job = imported?;
        removed.into_iter().collect::<anyhow::Result<()>>()?;
        let errors = if job.items_failed > 0 { read_errors(&container).await? } else { Vec::new() };
        let (done, failed) = (job.items_done, job.items_failed);
        report(output, Imported { job, errors })?;
        if failed > 0 {
            bail!("{} of {} failed; the others are imported", failed, plural(done + failed, "line"));
        }
        Ok(())
    }
}

/// Returns a new name for a blob, so that two commands do not use the same one.
fn blob_name(what: &str) -> String {
    format!("{what}-{}.txt", Guid::random())
}

/// Sends a file to a blob.
async fn send(container: &BlobContainer, blob: &str, path: &Path) -> anyhow::Result<()> {
    let cannot_read = || format!("cannot read {}", path.display());
    let file = tokio::fs::File::open(path).await.with_context(cannot_read)?;
    let size = file.metadata().await.with_context(cannot_read)?.len();
    let bar = ProgressBar::new(size).with_style(ProgressStyle::with_template(
        "sending {bytes} of {total_bytes} {bar:30} {bytes_per_sec}",
    )?);
    let progress = bar.clone();
    let sent = container.put_blob(blob, file, move |bytes| progress.set_position(bytes)).await;
    bar.finish_and_clear();
    Ok(sent?)
}

/// Creates a job and waits until it has ended.
async fn run_job(client: &ServiceClient, request: &ImportExportRequest) -> anyhow::Result<ImportExportJob> {
    let job = client.create_import_export_job(request).await?;
    let style = ProgressStyle::with_template("{percent:>3} % {bar:30} {msg}")?;
    let bar = ProgressBar::new(100).with_style(style);
    let ended = job
        .wait(|job| {
            bar.set_position(job.progress.into());
            let state = if job.status == JobStatus::Enqueued { ", waiting for other jobs" } else { "" };
            bar.set_message(format!("{} done, {} failed{state}", job.items_done, job.items_failed));
        })
        .await;
    bar.finish_and_clear();
    Ok(ended?)
}

/// Downloads a blob to a file that only its owner may read.
async fn save(container: &BlobContainer, blob: &str, path: &Path) -> anyhow::Result<()> {
    let cannot_write = || format!("cannot write {}", path.display());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(cannot_write)?;
    let mut content = container.open_blob(blob).await?;
    while let Some(bytes) = content.next().await {
        file.write_all(&bytes?).with_context(cannot_write)?;
    }
    file.sync_all().with_context(cannot_write)
}

/// Removes a blob, if it exists.
async fn remove(container: &BlobContainer, blob: &str) -> anyhow::Result<()> {
    match container.delete_blob(blob).await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("the blob {blob}, which contains keys, remains in the hub"))
        }
        _ => Ok(()),
    }
}

/// Reads what failed, and removes the blobs. Only those exist in which something failed.
async fn read_errors(container: &BlobContainer) -> anyhow::Result<Vec<Value>> {
    let mut log = Vec::new();
    for blob in ERRORS_BLOBS {
        let mut content = match container.open_blob(blob).await {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => opened?,
        };
        while let Some(bytes) = content.next().await {
            log.extend_from_slice(&bytes?);
        }
        container.delete_blob(blob).await?;
    }
    let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("the hub's log of errors cannot be read")).collect()
}

fn report(output: Output, imported: Imported) -> anyhow::Result<()> {
    if output == Output::Json {
        return output.print(&imported, |_| table([""]));
    }
    if !imported.errors.is_empty() {
        output.print(&imported, |imported| failed_lines(&imported.errors))?;
        let more = imported.errors.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            output.warn(&format!("and {more} more; --output json prints all"));
        }
    }
    output.note(&format!("imported {}", plural(imported.job.items_done, "line")));
    Ok(())
}

fn failed_lines(errors: &[Value]) -> comfy_table::Table {
    let mut table = table(["DEVICE", "MODULE", "CONFIGURATION", "ERROR", "REASON"]);
    let text = |error: &Value, name: &str| one_line(error[name].as_str().unwrap_or_default());
    for error in errors.iter().take(MAX_SHOWN) {
        table.add_row([
            text(error, "deviceId"),
            text(error, "moduleId"),
            text(error, "configurationId"),
            error["errorCode"].to_string(),
            text(error, "errorStatus"),
        ]);
    }
    table
}
