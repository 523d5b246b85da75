//! `ferrohub query`: queries on twins.

use std::collections::BTreeSet;

use anyhow::Context as _;
use clap::Args;
use ferrohub_service::{ServiceClient, Twin};
use serde_json::{Map, Value};

use super::registry::{connection_state, time_or_never};
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, one_line, plural, table};

/// Rows of one request.
const PAGE_ROWS: u32 = 1000;
/// The type of whole twins.
const TWIN: &str = "Twin";

/// Flags of `ferrohub query`.
#[derive(Debug, Args)]
pub(crate) struct QueryCommand {
    #[command(flatten)]
    login: Login,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Maximum number of rows
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    top: u32,
    /// The query, such as "SELECT deviceId, tags.building FROM devices WHERE connectionState = 'Connected'"
    query: String,
}

/// The rows of a query.
struct Found {
    rows: Vec<Value>,
    are_twins: bool,
    has_more: bool,
}

impl QueryCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        super::block_on(async {
            let client = self.login.access(global)?.client;
            let found = read(&client, &self.query, usize::try_from(self.top)?).await?;
            self.output
                .print(&found.rows, |rows| if found.are_twins { twins(rows) } else { table_of(rows) })?;
            if found.has_more {
                let rows = plural(found.rows.len() as u64, "row");
                self.output.warn(&format!("showing the first {rows}; --top shows more"));
            }
            Ok(())
        })
    }
}

/// Prints the devices that meet a condition.
pub(crate) async fn print_devices(
    output: Output,
    client: &ServiceClient,
    condition: &str,
    top: usize,
) -> anyhow::Result<()> {
    let query = format!("SELECT * FROM devices WHERE {condition}");
    // The hub names places in the whole query.
    let found = read(client, &query, top).await.with_context(|| format!("cannot run {query}"))?;
    output.print(&found.rows, |rows| twins(rows))?;
    if found.has_more {
        let shown = plural(found.rows.len() as u64, "device");
        output.warn(&format!("showing the first {shown}; list more with --top or --all"));
    }
    Ok(())
}

/// Reads the first rows of a query.
async fn read(client: &ServiceClient, query: &str, limit: usize) -> anyhow::Result<Found> {
    let page_rows = u32::try_from(limit).unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS);
    let mut rows = Vec::new();
    let mut continuation: Option<String> = None;
    loop {
        let mut request = client.query(query).page_size(page_rows);
        if let Some(token) = continuation {
            request = request.after(token);
        }
        let page = request.page::<Value>().await?;
        let are_twins = page.item_type == TWIN;
        rows.extend(page.rows);
        let has_more = rows.len() > limit || page.continuation.is_some();
        if rows.len() >= limit || page.continuation.is_none() {
            rows.truncate(limit);
            return Ok(Found { rows, are_twins, has_more });
        }
        continuation = page.continuation;
    }
}

/// A table of twins: what tells them apart. The JSON has all of them.
fn twins(rows: &[Value]) -> comfy_table::Table {
    let mut table = table(["ID", "STATUS", "CONNECTION", "LAST ACTIVITY", "TAGS"]);
    for row in rows {
        let Ok(twin) = serde_json::from_value::<Twin>(row.clone()) else { continue };
        let module = twin.module_id.map(|module| format!("/{module}")).unwrap_or_default();
        table.add_row([
            format!("{}{module}", twin.device_id),
            twin.status.map(|status| status.name().to_owned()).unwrap_or_default(),
            connection_state(twin.connection_state),
            time_or_never(twin.last_activity_time),
            one_line(&Value::from(twin.tags.unwrap_or_default()).to_string()),
        ]);
    }
    table
}

/// A table with a column for each key that a row has.
fn table_of(rows: &[Value]) -> comfy_table::Table {
    let objects: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
    let keys: BTreeSet<&str> = objects.iter().flat_map(|row| row.keys()).map(String::as_str).collect();
    let mut table = table::<0>([]);
    table.set_header(keys.iter().map(|key| one_line(key)));
    for row in objects {
        table.add_row(keys.iter().map(|key| match row.get(*key) {
            None => String::new(),
            Some(Value::String(text)) => one_line(text),
            Some(value) => one_line(&value.to_string()),
        }));
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_without_a_key_has_an_empty_cell() {
        let rows =
            [json!({ "n": 1, "kind": "lamp" }), json!({ "kind": null, "x": { "a": [true] } }), json!({})];
        let text = table_of(&rows).to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [vec!["kind", "n", "x"], vec!["lamp", "1"], vec!["null", r#"{"a":[true]}"#], vec![]]
        );
    }
}
