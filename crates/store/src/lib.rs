//! The [`Store`](ferrohub_core::store::Store) and [`EventLog`](ferrohub_core::telemetry::EventLog) ports over SQLite.
//!
//! The hub's data folder contains two databases, `hub.db` and `events.db`. One process at a time locks the folder, and
//! one thread writes to each database. The thread runs all waiting writes in one transaction and answers them after the
//! commit is on disk (`synchronous=FULL`), so that many callers share one `fsync`. Reads use a few read-only
//! connections and never wait for the writer.
//!
//! Start with [`SqliteStore`] and [`SqliteEventLog`], then `writer.rs`. The tables are in `migrations/`.
#![forbid(unsafe_code)]

mod background_readers;
pub mod backup;
mod data_folder;
mod database;
mod error;
mod event_log;
mod failures;
mod instance;
mod metrics;
mod queries;
mod readers;
mod rows;
mod schema;
mod sqlite;
mod statements;
mod writer;

pub use error::OpenError;
pub use event_log::SqliteEventLog;
pub use metrics::StoreMetrics;
pub use queries::{IndexedPath, InvalidIndexedPath};
pub use sqlite::{SqliteStore, StoreSettings, read_policies};
