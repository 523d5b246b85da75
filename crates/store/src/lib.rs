//! The [`Store`](ferrohub_core::store::Store) and [`EventLog`](ferrohub_core::events::EventLog) ports over SQLite.
//!
//! Two files, `hub.db` and `events.db`, in the hub's data folder, which one process holds at a time. One thread writes to
//! each:
//! it takes every write that is waiting, puts them into one transaction, and answers them when that is
//! on disk (`synchronous=FULL`), so that many callers share one `fsync`. Reads go to a few read-only
//! connections beside it and never wait for the writer.
//!
//! Read on in [`SqliteStore`] and [`SqliteEventLog`], then `writer.rs`; the tables are in `migrations/`.
#![forbid(unsafe_code)]

mod data_folder;
mod database;
mod error;
mod event_log;
mod metrics;
mod readers;
mod rows;
mod schema;
mod sqlite;
mod statements;
mod writer;

pub use error::OpenError;
pub use event_log::SqliteEventLog;
pub use metrics::StoreMetrics;
pub use sqlite::{SqliteStore, read_policies};
