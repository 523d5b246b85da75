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
use ferrohub_core::files::{BlobError, ByteStream, UncommittedBlocks};

use crate::file_system::FileSystem;
use crate::paths::DeviceKey;
use crate::quota::Quota;
use crate::temp_file::blocking;

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

/// The number and size of the blocks in each folder that received a block since the start and still exists. Listing the
/// folder for every block would take longer with each block.
#[derive(Debug, Default)]
pub(crate) struct BlockStatsCache(Mutex<HashMap<PathBuf, UncommittedBlocks>>);

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
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, UncommittedBlocks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number and size of the blocks in a folder. Reads the disk if they were not set yet.
    pub(crate) fn get(&self, folder: &Path) -> io::Result<UncommittedBlocks> {
        if let Some(stats) = self.lock().get(folder) {
            return Ok(*stats);
        }
        let files = uncommitted(folder)?;
        // Not cached: if no block follows, the entry would never be removed.
        Ok(UncommittedBlocks {
            blocks: files.len(),
            bytes: files.values().sum(),
            // Two digits for each byte.
            id_length: files.keys().next().map(|name| name.len() / 2),
        })
    }

    /// Sets the number and size of the blocks in a folder, which has received a block.
    pub(crate) fn set(&self, folder: &Path, stats: UncommittedBlocks) {
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
    fn only_a_block_creates_a_cache_entry() {
        let (block_stats, data) = (BlockStatsCache::default(), tempfile::tempdir().unwrap());
        let folder = data.path().join("a");
        let before = block_stats.get(&folder).unwrap();
        assert_eq!((before.blocks, block_stats.lock().len()), (0, 0));
        let stats = UncommittedBlocks { blocks: 1, bytes: 3, id_length: Some(2) };
        block_stats.set(&folder, stats);
        assert_eq!(block_stats.get(&folder).unwrap(), stats);
        block_stats.remove(&folder);
        assert_eq!(block_stats.lock().len(), 0);
    }
}
