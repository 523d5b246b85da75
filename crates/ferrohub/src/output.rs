//! Output of commands: tables or JSON.
//!
//! Everything goes through this module, for two reasons. A closed pipe ends the command without a panic. Texts from
//! devices and from the registry are escaped, so that they cannot control the terminal.

mod escape;

use std::fmt;
use std::io::{self, ErrorKind, Write as _};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::unix::pipe;

pub(crate) use escape::{json as escape_json, log_line as escape_log_line, one_line, printable};

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// Table
    #[default]
    Table,
    /// JSON
    Json,
}

impl Output {
    /// Prints `value` as JSON, or as the table that `table` returns for it.
    pub(crate) fn print<T: Serialize + ?Sized>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> Table,
    ) -> anyhow::Result<()> {
        match self {
            Self::Json => print_line(&escape::json(&serde_json::to_string_pretty(value)?)),
            Self::Table => print_line(&table(value).to_string()),
        }
    }

    /// Prints one value of a stream: as one line of JSON, so that programs can read the output line by line, or as the
    /// text that `text` returns for it.
    pub(crate) fn print_each<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        match self {
            Self::Json => print_line(&escape::json(&serde_json::to_string(value)?)),
            Self::Table => print_line(&text(value)),
        }
    }

    /// Reports what a command did that returns nothing: `value` as JSON, or a sentence on standard error.
    pub(crate) fn done(self, value: &serde_json::Value, sentence: &str) -> anyhow::Result<()> {
        match self {
            Self::Json => print_line(&escape::json(&serde_json::to_string_pretty(value)?)),
            Self::Table => {
                note(sentence);
                Ok(())
            }
        }
    }

    /// Prints a warning on standard error, as an object with JSON.
    pub(crate) fn warn(self, sentence: &str) {
        match self {
            Self::Json => note(&serde_json::json!({ "warning": sentence }).to_string()),
            Self::Table => note(sentence),
        }
    }

    /// Prints a sentence for people on standard error; nothing with JSON.
    pub(crate) fn note(self, sentence: &str) {
        if self == Self::Table {
            note(sentence);
        }
    }
}

/// The reader of the standard output has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of the standard output has ended")
    }
}

impl std::error::Error for OutputClosed {}

/// Formats a number with its noun in the singular or plural.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Returns an empty table with these headings.
pub(crate) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table
}

/// Returns a table with one name and value per row.
pub(crate) fn details<N: Into<String>>(rows: impl IntoIterator<Item = (N, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    for (name, value) in rows {
        table.add_row([name.into(), value]);
    }
    table
}

/// Prints text to standard output, escaped and without trailing white space.
pub(crate) fn print_line(text: &str) -> anyhow::Result<()> {
    let mut lines = String::with_capacity(text.len() + 1);
    for line in printable(text).lines() {
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    print_bytes(lines.as_bytes())
}

/// Prints bytes to standard output as they are.
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => anyhow::Error::new(error).context("cannot write to the standard output"),
    })
}

/// Prints a line to standard error, escaped. If nobody can read it, it is dropped.
pub(crate) fn note(text: &str) {
    let mut line = printable(text);
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Completes when the reader of the standard output has ended. Commands that wait for events end then, instead of with
/// the next event. Never completes if the standard output is not a pipe.
pub(crate) async fn closed() -> OutputClosed {
    // Opened again: on the descriptor itself, tokio would make writes non-blocking for all processes that share it.
    if let Ok(pipe) = pipe::OpenOptions::new().open_sender("/proc/self/fd/1")
        && pipe.ready(Interest::ERROR).await.is_ok()
    {
        return OutputClosed;
    }
    std::future::pending().await
}
