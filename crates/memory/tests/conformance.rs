//! The conformance suites of the adapters in memory.
#![allow(missing_docs, reason = "a test's name says what it tests")]

use std::sync::Arc;

use ferrohub_conformance::{BLOB_FOLDER_NOW, Fixture};
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{BlobEndpoint, BlobFolder, FolderLimits};
use ferrohub_core::store::Store;
use ferrohub_core::telemetry::EventLog;
use ferrohub_memory::{MemoryBlobFolder, MemoryEventLog, MemoryStore};
use ferrohub_model::Timestamp;

ferrohub_conformance::store_suite!(open_store);

async fn open_store() -> Fixture<dyn Store> {
    Fixture::new(Arc::new(MemoryStore::default()))
}

mod event_log {
    ferrohub_conformance::event_log_suite!(super::open_event_log);
}

async fn open_event_log(partitions: u16) -> Fixture<dyn EventLog> {
    Fixture::new(Arc::new(MemoryEventLog::new(partitions)))
}

mod blob_folder {
    ferrohub_conformance::blob_folder_suite!(super::open_blob_folder);
}

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        BLOB_FOLDER_NOW
    }
}

async fn open_blob_folder(limits: FolderLimits) -> Fixture<dyn BlobFolder> {
    let endpoint = BlobEndpoint {
        host: "h".to_owned(),
        account: "h".to_owned(),
        container: "c".to_owned(),
        https: true,
    };
    Fixture::new(Arc::new(MemoryBlobFolder::new(endpoint, limits, Arc::new(FixedClock))))
}
