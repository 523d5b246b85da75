//! `ferrohub backup`.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::Args;
use ferrohub_model::Timestamp;
use ferrohub_store::backup::{self, BackupError, Created, Source};
use indicatif::HumanBytes;

use super::partial::Partial;
use super::{SECRETS, is_stream, progress_bar};
use crate::global_flags::GlobalFlags;
use crate::output::{self, Output, OutputClosed, note, plural};

/// Size of the pieces that are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Flags of `ferrohub backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ferrohub backup hub-backup.tar
  ferrohub backup - | zstd > hub-backup.tar.zst")]
pub(crate) struct Backup {
    /// File to write, which must not exist; - for the standard output
    file: PathBuf,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Backup {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let config = global.load(Vec::new())?;
        let source = Source {
            folder: &config.data_dir,
            secrets: &SECRETS,
            hub_version: env!("CARGO_PKG_VERSION"),
            now: Timestamp::from(SystemTime::now()),
        };
        if is_stream(&self.file) { self.to_stdout(&source) } else { self.to_file(&source) }
    }

    fn to_file(&self, source: &Source<'_>) -> anyhow::Result<()> {
        let file = &self.file;
        check_target(file, source.folder)?;
        let partial = Partial::create(file)?;
        let archive = BufWriter::with_capacity(BUFFER_BYTES, partial.create_archive()?);
        let (bar, mut progress) = progress_bar("backing up")?;
        let written = backup::create(source, partial.folder(), archive, &mut progress);
        bar.finish_and_clear();
        let (created, archive) = written?;
        let archive = archive.into_inner().map_err(io::IntoInnerError::into_error);
        partial.complete(archive.with_context(|| format!("cannot write {}", file.display()))?)?;
        let report = serde_json::to_value(&created)?;
        self.output.done(&report, &sentence(&created, source.folder, &file.display().to_string()))?;
        self.warn(&created);
        Ok(())
    }

    fn to_stdout(&self, source: &Source<'_>) -> anyhow::Result<()> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            bail!("the standard output is a terminal; name a file, or pipe the output to a program");
        }
        let temporary = tempfile::tempdir().context("cannot create a temporary folder")?;
        let (bar, mut progress) = progress_bar("backing up")?;
        let written = backup::create(source, temporary.path(), BufWriter::new(stdout.lock()), &mut progress);
        bar.finish_and_clear();
        let flushed = written.and_then(|(created, mut archive)| {
            archive.flush().map(|()| created).map_err(|source| BackupError::Output { source })
        });
        let created = match flushed {
            Err(BackupError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => {
                return Err(OutputClosed.into());
            }
            created => created?,
        };
        // The standard output has the archive.
        match self.output {
            Output::Json => note(&output::escape_json(&serde_json::to_string(&created)?)),
            Output::Table => note(&sentence(&created, source.folder, "the standard output")),
        }
        self.warn(&created);
        Ok(())
    }

    fn warn(&self, created: &Created) {
        if created.damaged_files > 0 {
            self.output.warn(&format!(
                "{} in the catalogue of the hub not whole in the data folder and could not be backed up, such as {}",
                match created.damaged_files {
                    1 => "1 file is".to_owned(),
                    count => format!("{count} files are"),
                },
                created.damaged_names.join(", ")
            ));
        }
    }
}

fn sentence(created: &Created, folder: &Path, to: &str) -> String {
    format!(
        "backed up {} to {to}: {}, with {}, as of {}. The backup contains all keys of the hub; keep it as safe as the data \
         folder. The configuration file, and certificates that it names, are not in it",
        folder.display(),
        HumanBytes(created.bytes),
        plural(created.files, "uploaded file"),
        created.header.created,
    )
}

/// Checks that a backup can be written to the file: it does not exist, its folder does, and is not in the data folder.
fn check_target(file: &Path, data: &Path) -> anyhow::Result<()> {
    if file.symlink_metadata().is_ok() {
        bail!("{} exists; a backup overwrites nothing: choose another name, or remove it", file.display());
    }
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent =
        parent.canonicalize().with_context(|| format!("cannot write to the folder {}", parent.display()))?;
    if let Ok(data) = data.canonicalize()
        && parent.starts_with(&data)
    {
        bail!(
            "{} is in the data folder; a backup there would be lost with it: choose another folder, on another disk if \
             possible",
            file.display()
        );
    }
    Ok(())
}
