//! The conformance suite of the SQLite event log.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use std::sync::Arc;

use common::{open as open_store, open_events};
use ferrohub_conformance::Fixture;
use ferrohub_core::telemetry::EventLog;

ferrohub_conformance::event_log_suite!(open);

async fn open(partitions: u16) -> Fixture<dyn EventLog> {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    Fixture::with(Arc::new(open_events(&store, partitions)), (store, folder))
}
