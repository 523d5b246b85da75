//! One life of a blob folder and its catalogue: from their start until the power is cut.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use ferrohub_blobs::Folder;
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{BlobEndpoint, BlobFolder, FolderLimits};
use ferrohub_core::metrics::Outcomes;
use ferrohub_core::store::Store;
use ferrohub_model::Timestamp;
use ferrohub_power_loss::{Disk, Fault, Random};
use ferrohub_store::{SqliteStore, StoreMetrics};

use crate::operation::{Blobs, Blocks, Operation, blob};

/// Number of operations after which a life ends although the power was not cut.
const MAX_OPERATIONS: usize = 40;
/// More than the workload needs.
const ROOM: FolderLimits = FolderLimits { blob_bytes: 1 << 20, total_bytes: 1 << 30, device_bytes: 1 << 30 };

/// What is known about a folder between two lives.
#[derive(Debug)]
pub(crate) struct Known {
    /// The acknowledged blobs, and those after an operation that failed, which a power loss may leave.
    pub(crate) candidates: Vec<Blobs>,
    /// The acknowledged blocks.
    pub(crate) blocks: Blocks,
    /// The files without an entry that were moved out of the way. They must not be lost.
    pub(crate) set_aside: BTreeSet<OsString>,
}

impl Default for Known {
    fn default() -> Self {
        Self { candidates: vec![Blobs::new()], blocks: Blocks::new(), set_aside: BTreeSet::new() }
    }
}

pub(crate) struct Life<'a> {
    disk: Arc<Disk>,
    known: Known,
    random: &'a mut Random,
    faults: u64,
}

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }
}

impl<'a> Life<'a> {
    pub(crate) fn new(disk: Arc<Disk>, known: Known, random: &'a mut Random) -> Self {
        Self { disk, known, random, faults: 0 }
    }

    /// Opens the folder, checks what it contains, and changes it until the power is cut.
    pub(crate) async fn run(mut self, faults: &[Fault]) -> Known {
        let store = match SqliteStore::open(self.disk.root(), StoreMetrics::default()) {
            Ok(store) => Arc::new(store),
            Err(error) => {
                assert!(self.disk.is_off(), "the store does not open: {error}");
                return self.known;
            }
        };
        let path = store.claim_blobs_folder().unwrap();
        let endpoint = BlobEndpoint {
            host: "h".to_owned(),
            account: "h".to_owned(),
            container: "c".to_owned(),
            https: true,
        };
        let files = self.disk.clone();
        match Folder::open_in(
            files,
            &path,
            endpoint,
            ROOM,
            store.clone(),
            Arc::new(FixedClock),
            Outcomes::default(),
        )
        .await
        {
            Ok(folder) => self.run_folder(&folder, &path, faults).await,
            Err(error) => assert!(self.disk.is_off(), "the folder does not open: {error}"),
        }
        self.disk.cut_power();
        store.close().await;
        self.known
    }

    async fn run_folder(&mut self, folder: &Folder, path: &Path, faults: &[Fault]) {
        self.settle_on_what_is_left(folder, path).await;
        for _ in 0..MAX_OPERATIONS {
            if self.disk.is_off() {
                break;
            }
            if !faults.is_empty() && self.random.chance(30) {
                let fault = *self.random.pick(faults);
                self.disk.fail(fault, self.random.below(8), 1 + self.random.below(6));
            }
            let operation = Operation::random(self.random);
            self.run_operation(folder, &operation).await;
            self.faults += self.disk.repair();
            if !self.disk.is_off() {
                let failed = self.known.candidates.len() > 1;
                assert!(!failed || self.faults > 0, "{operation:?} failed on a disk without faults");
                assert_eq!(read(folder).await, self.known.candidates[0], "after {operation:?}");
            }
        }
    }

    async fn run_operation(&mut self, folder: &Folder, operation: &Operation) {
        let (mut blobs, mut blocks) = (self.known.candidates[0].clone(), self.known.blocks.clone());
        operation.apply(&mut blobs, &mut blocks);
        match (operation.run(folder, &self.known.blocks).await, operation) {
            (Ok(()), _) => {
                // What a failed write left in the WAL is overwritten, unless this one wrote nothing.
                if blobs != self.known.candidates[0] {
                    self.known.candidates = vec![blobs];
                }
                self.known.blocks = blocks;
            }
            // The old block or the new one.
            (Err(_), Operation::PutBlock { name, id, .. }) => {
                drop(self.known.blocks.remove(&(*name, id.clone())))
            }
            (Err(_), _) => self.known.candidates.push(blobs),
        }
    }

    /// Checks that the folder has the blobs of one of the expected states, which is the only one from now on, and nothing
    /// else.
    async fn settle_on_what_is_left(&mut self, folder: &Folder, path: &Path) {
        let left = read(folder).await;
        let index = self.known.candidates.iter().position(|candidate| *candidate == left);
        let expected: Vec<Vec<_>> = self.known.candidates.iter().map(sizes).collect();
        assert!(index.is_some(), "the power loss left {:?}, not one of {expected:?}", sizes(&left));
        let count = |folder: &str| std::fs::read_dir(path.join(folder)).unwrap().count();
        assert_eq!((count("data"), count("parts")), (left.len(), 0), "files that belong to no blob");
        let set_aside = std::fs::read_dir(path.join("set-aside")).into_iter().flatten();
        let set_aside = set_aside.map(|entry| entry.unwrap().file_name()).collect();
        assert!(self.known.set_aside.is_subset(&set_aside), "files that were set aside are lost");
        self.known.set_aside = set_aside;
        self.known.candidates = vec![left];
    }
}

/// Reads all blobs as clients do.
async fn read(folder: &Folder) -> Blobs {
    let mut blobs = Blobs::new();
    for listed in folder.list(None, None, 100).await.unwrap() {
        let name: &'static str = ["a/one", "a/two", "b/three"]
            .into_iter()
            .find(|name| blob(name) == listed.name)
            .expect("a blob of the workload");
        let mut open = folder.open(&listed.name, None).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = open.stream.next().await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(bytes.len() as u64, listed.bytes, "the catalogue has another size");
        blobs.insert(name, bytes);
    }
    blobs
}

/// Names and sizes, for messages.
fn sizes(blobs: &Blobs) -> Vec<(&'static str, usize)> {
    blobs.iter().map(|(name, bytes)| (*name, bytes.len())).collect()
}
