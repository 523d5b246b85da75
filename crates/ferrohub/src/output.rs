//! Output of commands: tables or JSON.

use std::io::Write as _;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

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
            Self::Json => print_line(&serde_json::to_string_pretty(value)?),
            Self::Table => print_line(&table(value).to_string()),
        }
    }
}

/// Returns an empty table with these headings.
pub(crate) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table
}

/// Returns a table with one name and value per row.
pub(crate) fn details(rows: impl IntoIterator<Item = (&'static str, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    for (name, value) in rows {
        table.add_row([name, &value]);
    }
    table
}

/// Prints text to standard output, without trailing white space.
pub(crate) fn print_line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in text.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
