//! The conformance suite of the folder of uploaded files in memory.
#![allow(missing_docs, reason = "a test's name says what it tests")]

use std::sync::Arc;

use ferrohub_conformance::{BLOB_FOLDER_NOW, Fixture};
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{BlobEndpoint, BlobFolder, FolderLimits};
use ferrohub_memory::MemoryBlobFolder;
use ferrohub_model::Timestamp;

ferrohub_conformance::blob_folder_suite!(open);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        BLOB_FOLDER_NOW
    }
}

async fn open(limits: FolderLimits) -> Fixture<dyn BlobFolder> {
    let endpoint = BlobEndpoint {
        host: "h".to_owned(),
        account: "h".to_owned(),
        container: "c".to_owned(),
        https: true,
    };
    Fixture::new(Arc::new(MemoryBlobFolder::new(endpoint, limits, Arc::new(FixedClock))))
}
