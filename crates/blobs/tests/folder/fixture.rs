//! A folder under test, and its catalogue.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrohub_blobs::Folder;
use ferrohub_conformance::BLOB_FOLDER_NOW;
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{BlobEndpoint, FolderLimits};
use ferrohub_core::metrics::Outcomes;
use ferrohub_model::Timestamp;
use ferrohub_store::{SqliteStore, StoreMetrics};

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        BLOB_FOLDER_NOW
    }
}

/// A data folder, which several folders of files use one after the other.
pub(crate) struct DataFolder {
    path: tempfile::TempDir,
    pub(crate) store: Arc<SqliteStore>,
}

impl DataFolder {
    pub(crate) fn new() -> Self {
        let path = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(path.path(), StoreMetrics::default()).unwrap());
        Self { path, store }
    }

    /// Opens the folder of files. A device has no limit of its own.
    pub(crate) async fn open(&self, blob_bytes: u64, total_bytes: u64) -> Folder {
        self.open_with(FolderLimits { blob_bytes, total_bytes, device_bytes: total_bytes }).await
    }

    pub(crate) async fn open_with(&self, limits: FolderLimits) -> Folder {
        let endpoint = BlobEndpoint {
            host: "h".to_owned(),
            account: "h".to_owned(),
            container: "c".to_owned(),
            https: true,
        };
        let (store, clock) = (self.store.clone(), Arc::new(FixedClock));
        Folder::open(&self.files_path(), endpoint, limits, store, clock, Outcomes::default()).await.unwrap()
    }

    pub(crate) fn files_path(&self) -> PathBuf {
        self.path.path().join("blobs")
    }

    /// The number of files in the folder and its subfolders.
    pub(crate) fn files(&self) -> usize {
        fn count(path: &Path) -> usize {
            if path.is_file() {
                return 1;
            }
            std::fs::read_dir(path).unwrap().map(|entry| count(&entry.unwrap().path())).sum()
        }
        count(&self.files_path())
    }
}
