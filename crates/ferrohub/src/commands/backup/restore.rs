//! `ferrohub restore`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use ferrohub_model::Timestamp;
use ferrohub_store::backup::{self, Comparison, Restored, Target};
use serde::Serialize;

use super::{SECRETS, is_stream, progress_bar, report};
use crate::global_flags::GlobalFlags;
use crate::output::Output;

/// Flags of `ferrohub restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ferrohub restore hub-backup.tar --data-dir ferrohub-data
  ferrohub restore hub-backup.tar --data-dir ferrohub-data --compare-with ferrohub-data.old
  zstd -dc hub-backup.tar.zst | ferrohub restore -")]
pub(crate) struct Restore {
    /// The backup; - for the standard input
    file: PathBuf,
    /// The data folder that the backup replaces: list what was revoked or deleted in it since, and is valid again
    #[arg(long, value_name = "FOLDER")]
    compare_with: Option<PathBuf>,
    /// Cancel the jobs that had not ended when the backup was made
    #[arg(long)]
    cancel_jobs: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What was restored.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) restored: Restored,
    /// What the restored folder has that the old one had revoked.
    pub(super) comparison: Option<Comparison>,
    #[serde(rename = "jobsCancelled")]
    pub(super) jobs_cancelled: bool,
    /// The data folder.
    pub(super) folder: PathBuf,
}

impl Restore {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let config = global.load(Vec::new())?;
        if let Some(old) = &self.compare_with {
            // Before anything is written: a wrong name is found at once.
            ferrohub_store::read_policies(old)?;
        }
        let cannot_read = || format!("cannot read {}", self.file.display());
        let (input, bytes): (Box<dyn Read>, _) = if is_stream(&self.file) {
            (Box::new(io::stdin().lock()), None)
        } else {
            let file = File::open(&self.file).with_context(cannot_read)?;
            let bytes = file.metadata().with_context(cannot_read)?.len();
            (Box::new(file), Some(bytes))
        };
        let target = Target {
            folder: &config.data_dir,
            secrets: &SECRETS,
            now: Timestamp::from(SystemTime::now()),
            cancel_jobs: self.cancel_jobs,
            bytes,
        };
        let (bar, mut progress) = progress_bar("restoring")?;
        let restored = backup::restore(input, &target, &mut progress);
        bar.finish_and_clear();
        let restored = restored?;
        let comparison = match &self.compare_with {
            Some(old) => Some(backup::compare(&config.data_dir, old).with_context(|| {
                format!("{} is restored, but the comparison failed", config.data_dir.display())
            })?),
            None => None,
        };
        let report = Report {
            restored,
            comparison,
            jobs_cancelled: self.cancel_jobs,
            folder: config.data_dir.clone(),
        };
        report::print(self.output, &report)
    }
}
