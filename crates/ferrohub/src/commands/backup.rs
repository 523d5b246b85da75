//! `ferrohub backup` and `ferrohub restore`: the data folder in one file, and back.

mod create;
mod partial;
mod report;
mod restore;

use std::path::Path;

use ferrohub_store::backup::Progress;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use create::Backup;
pub(crate) use restore::Restore;

/// The files with keys and certificates in a data folder. The order is that in which they are written: a certificate is of no
/// use without its key.
const SECRETS: [&str; 6] = [
    "tls/ca.key",
    "tls/ca.pem",
    "tls/server.key",
    "tls/server.pem",
    "tls/server.names",
    "entra-development.json",
];

/// Returns whether a file name stands for the standard output or input.
fn is_stream(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// A progress bar, which is shown only on a terminal.
fn progress_bar(what: &str) -> anyhow::Result<(ProgressBar, impl FnMut(Progress) + use<>)> {
    let style = ProgressStyle::with_template("{msg} {bytes} of {total_bytes} {bar:30} {bytes_per_sec}")?;
    let bar = ProgressBar::new(0).with_style(style).with_message(what.to_owned());
    let shown = bar.clone();
    let update = move |progress: Progress| {
        shown.set_length(progress.total);
        shown.set_position(progress.done);
    };
    Ok((bar, update))
}
