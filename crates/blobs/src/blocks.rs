//! Uncommitted blocks: one folder for each blob, one file for each block.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::files::{BlobError, ByteStream};

use crate::file_system::FileSystem;
use crate::paths::DeviceKey;
use crate::quota::Quota;
use crate::temp_file::blocking;

/// Maximum number of blocks of one blob, as in Azure.
pub(crate) const MAX_BLOCKS: usize = 50_000;
/// Maximum number of uncommitted blocks of one blob, as in Azure.
pub(crate) const MAX_UNCOMMITTED_BLOCKS: usize = 100_000;
/// Maximum size of one read in bytes.
const CHUNK_SIZE: usize = 256 * 1024;

/// Returns the file names and sizes of the uncommitted blocks in a folder.
pub(crate) fn uncommitted(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let one = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()))
    };
    entries.map(one).collect()
}

/// The number and size of the uncommitted blocks in a folder. Listing the folder for every block would take longer with
/// each block.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockStats {
    pub(crate) blocks: usize,
    pub(crate) bytes: u64,
    /// Length of each block's file name.
    pub(crate) name_length: Option<usize>,
}

/// The statistics of all folders that received a block since the start and still exist.
#[derive(Debug, Default)]
pub(crate) struct BlockStatsCache(Mutex<HashMap<PathBuf, BlockStats>>);

/// Number of locks, and so of folders that can change at the same time, if their hashes differ.
const LOCK_SHARDS: usize = 64;

/// Locks for changes of folders, so that no block is counted twice. Several folders share a lock, so the number of
/// locks is fixed.
#[derive(Debug)]
pub(crate) struct FolderLocks([Arc<tokio::sync::Mutex<()>>; LOCK_SHARDS]);

impl Default for FolderLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl FolderLocks {
    pub(crate) fn get(&self, folder: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        folder.hash(&mut hasher);
        let [first, ..] = &self.0;
        self.0.get(hasher.finish() as usize % LOCK_SHARDS).unwrap_or(first).clone()
    }
}

impl BlockStatsCache {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, BlockStats>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the statistics of a folder. Reads the disk if no block was recorded for the folder yet.
    pub(crate) fn get(&self, folder: &Path) -> io::Result<BlockStats> {
        if let Some(stats) = self.lock().get(folder) {
            return Ok(*stats);
        }
        let files = uncommitted(folder)?;
        // Not cached: if no block follows, the entry would never be removed.
        Ok(BlockStats {
            blocks: files.len(),
            bytes: files.values().sum(),
            name_length: files.keys().next().map(String::len),
        })
    }

    /// Records a new block of `bytes` bytes. `before` is the statistics without it, `old` the size of the block it
    /// replaced.
    pub(crate) fn record_block(
        &self,
        folder: &Path,
        before: BlockStats,
        name_length: usize,
        bytes: u64,
        old: Option<u64>,
    ) {
        let stats = BlockStats {
            blocks: before.blocks + usize::from(old.is_none()),
            bytes: (before.bytes + bytes).saturating_sub(old.unwrap_or(0)),
            name_length: Some(name_length),
        };
        self.lock().insert(folder.to_path_buf(), stats);
    }

    pub(crate) fn remove(&self, folder: &Path) {
        self.lock().remove(folder);
    }
}

/// Removes a folder of blocks and releases its bytes. The caller must hold the folder's lock.
pub(crate) fn discard(
    folder: &Path,
    files: &dyn FileSystem,
    block_stats: &BlockStatsCache,
    quota: &Quota,
) -> io::Result<()> {
    block_stats.remove(folder);
    for (name, bytes) in uncommitted(folder)? {
        files.remove_file(&folder.join(name))?;
        quota.release(DeviceKey::of_block_folder(folder), bytes);
    }
    match files.remove_folder(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns when the last block was added to a folder.
pub(crate) fn last_modified(folder: &Path) -> io::Result<SystemTime> {
    fs::metadata(folder)?.modified()
}

/// The bytes of several files, one file after the other.
pub(crate) struct ConcatenatedFiles {
    remaining: std::vec::IntoIter<PathBuf>,
    open: Option<fs::File>,
}

impl ConcatenatedFiles {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { remaining: files.into_iter(), open: None }
    }
}

#[async_trait]
impl ByteStream for ConcatenatedFiles {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            let file = match self.open.take() {
                Some(file) => file,
                None => match self.remaining.next() {
                    None => return Ok(None),
                    Some(path) => blocking(move || Ok(fs::File::open(path)?)).await?,
                },
            };
            let (file, chunk) = read(file, CHUNK_SIZE as u64).await?;
            if !chunk.is_empty() {
                self.open = Some(file);
                return Ok(Some(chunk));
            }
        }
    }
}

/// A number of bytes of one file, from its current position on.
pub(crate) struct FileRange {
    open: Option<fs::File>,
    remaining: u64,
}

impl FileRange {
    pub(crate) fn new(file: fs::File, length: u64) -> Self {
        Self { open: Some(file), remaining: length }
    }
}

#[async_trait]
impl ByteStream for FileRange {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let Some(file) = self.open.take().filter(|_| self.remaining > 0) else { return Ok(None) };
        let (file, chunk) = read(file, self.remaining.min(CHUNK_SIZE as u64)).await?;
        if chunk.is_empty() {
            return Err(BlobError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.remaining -= chunk.len() as u64;
        self.open = Some(file);
        Ok(Some(chunk))
    }
}

async fn read(file: fs::File, max_bytes: u64) -> Result<(fs::File, Bytes), BlobError> {
    blocking(move || {
        let mut chunk = Vec::with_capacity(max_bytes as usize);
        (&file).take(max_bytes).read_to_end(&mut chunk)?;
        Ok((file, chunk.into()))
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_recorded_blocks_create_a_cache_entry() {
        let (block_stats, data) = (BlockStatsCache::default(), tempfile::tempdir().unwrap());
        let folder = data.path().join("a");
        let before = block_stats.get(&folder).unwrap();
        assert_eq!((before.blocks, block_stats.lock().len()), (0, 0));
        block_stats.record_block(&folder, before, 4, 10, None);
        block_stats.record_block(&folder, block_stats.get(&folder).unwrap(), 4, 3, Some(10));
        let stats = block_stats.get(&folder).unwrap();
        assert_eq!((stats.blocks, stats.bytes, stats.name_length), (1, 3, Some(4)));
        block_stats.remove(&folder);
        assert_eq!(block_stats.lock().len(), 0);
    }
}
