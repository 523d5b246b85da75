//! The conformance suites of the SQLite store and the SQLite event log.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use std::sync::Arc;

use common::{open, open_events};
use ferrohub_conformance::Fixture;
use ferrohub_core::store::Store;
use ferrohub_core::telemetry::EventLog;

ferrohub_conformance::store_suite!(open_store);

async fn open_store() -> Fixture<dyn Store> {
    let folder = tempfile::tempdir().unwrap();
    Fixture::with(Arc::new(open(folder.path())), folder)
}

mod event_log {
    ferrohub_conformance::event_log_suite!(super::open_event_log);
}

async fn open_event_log(partitions: u16) -> Fixture<dyn EventLog> {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    Fixture::with(Arc::new(open_events(&store, partitions)), (store, folder))
}
