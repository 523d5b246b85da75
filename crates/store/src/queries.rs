//! The port [`QueryStore`](ferrohub_core::queries::QueryStore): turns the plan of a query into SQL.
//!
//! A value of the query language is an SQL expression for the JSON text of the value; `NULL` is undefined. Twins are JSON
//! that `serde_json` wrote, so strings, booleans and null have exactly one text, and equal texts are equal values.
//! Comparisons beyond that, and calculations, are SQL functions that call the evaluator of `ferrohub-query`. So the
//! results are equal to those of the evaluator by construction, and SQLite decides with `AND`, `OR`, `NOT` and `NULL`,
//! which are those of the language.
//!
//! * [`source`]: which tables are read. [`paths`] and [`job_paths`]: the expression of a path. [`conditions`]: the expression of a condition.
//! * [`functions`]: the SQL functions. [`indexes`]: the paths that the operator has declared.
//! * [`statement`]: the whole statement. [`page`]: runs it and reads a page, within the limits.
//!
//! Everything from a query is a bind parameter. The text of a statement is made of constants of this module and of paths of
//! the configuration.

mod conditions;
mod continuation_key;
mod each_row;
mod functions;
mod indexes;
mod job_paths;
mod page;
mod paths;
mod source;
mod sql;
mod statement;
mod stop;

use rusqlite::{Connection, Result};

pub(crate) use continuation_key::get_or_insert as continuation_key;
pub use indexes::{IndexedPath, InvalidIndexedPath};
pub(crate) use indexes::{create as create_indexes, is_path_index};
pub(crate) use page::read as read_page;

/// Size of the page cache of each connection for queries, in KiB. Scans of many twins read pages only once.
const CACHE_KIB: i64 = 8 * 1024;

/// Prepares a read-only connection for queries.
pub(crate) fn prepare_reader(db: &Connection) -> Result<()> {
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    functions::register(db)
}
