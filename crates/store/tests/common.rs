//! Helpers of the store's tests.
#![allow(clippy::unwrap_used, dead_code, missing_docs, reason = "a test ends by panicking")]

use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};

pub(crate) fn open(folder: &std::path::Path) -> SqliteStore {
    SqliteStore::open(folder, StoreMetrics::default()).unwrap()
}

/// Opens the event log in the data folder of a store.
pub(crate) fn open_events(store: &SqliteStore, partitions: u16) -> SqliteEventLog {
    SqliteEventLog::open(store, partitions, StoreMetrics::default()).unwrap()
}
