//! Parts of a blob that is to be: one folder for each, one file for each part.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::blobs::{BlobError, Pieces};

use crate::part::blocking;
use crate::quota::Quota;

/// Most blocks of one blob, and most that may wait for one, as Azure has it.
pub(crate) const MAX_BLOCKS: usize = 50_000;
pub(crate) const MAX_WAITING: usize = 100_000;
/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// The blocks that wait in a folder, with their sizes.
pub(crate) fn waiting(folder: &Path) -> io::Result<HashMap<String, u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    let one = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()))
    };
    entries.map(one).collect()
}

/// What waits in a folder, in numbers: to list it for every block would take longer and longer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) blocks: usize,
    pub(crate) bytes: u64,
    /// Length of each block's file name.
    pub(crate) name_length: Option<usize>,
}

/// The tallies of all folders that something was put into since the start, and is there.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<PathBuf, Tally>>);

/// How many folders can change at once, if chance spreads them well.
const LOCKS: usize = 64;

/// Whoever changes what is in a folder holds its lock, so that no block is counted twice. Folders share locks: there are
/// never more.
#[derive(Debug)]
pub(crate) struct Locks([Arc<tokio::sync::Mutex<()>>; LOCKS]);

impl Default for Locks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl Locks {
    pub(crate) fn of(&self, folder: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        folder.hash(&mut hasher);
        let [first, ..] = &self.0;
        self.0.get(hasher.finish() as usize % LOCKS).unwrap_or(first).clone()
    }
}

impl Tallies {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That of a folder. Waits for the disk as long as nothing was put into it.
    pub(crate) fn of(&self, folder: &Path) -> io::Result<Tally> {
        if let Some(tally) = self.lock().get(folder) {
            return Ok(*tally);
        }
        let files = waiting(folder)?;
        // Not kept: what never comes would leave an entry that nobody removes.
        Ok(Tally {
            blocks: files.len(),
            bytes: files.values().sum(),
            name_length: files.keys().next().map(String::len),
        })
    }

    /// A block came to what was `before`, in the place of `old` bytes if there was one of that id.
    pub(crate) fn came(
        &self,
        folder: &Path,
        before: Tally,
        name_length: usize,
        bytes: u64,
        old: Option<u64>,
    ) {
        let tally = Tally {
            blocks: before.blocks + usize::from(old.is_none()),
            bytes: (before.bytes + bytes).saturating_sub(old.unwrap_or(0)),
            name_length: Some(name_length),
        };
        self.lock().insert(folder.to_path_buf(), tally);
    }

    pub(crate) fn forget(&self, folder: &Path) {
        self.lock().remove(folder);
    }
}

/// Removes a folder of blocks, whose lock the caller holds; its bytes are free again.
pub(crate) fn forget(folder: &Path, tallies: &Tallies, quota: &Quota) -> io::Result<()> {
    tallies.forget(folder);
    for (name, bytes) in waiting(folder)? {
        fs::remove_file(folder.join(name))?;
        quota.free(bytes);
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// When the last block of a folder came.
pub(crate) fn last_change(folder: &Path) -> io::Result<SystemTime> {
    fs::metadata(folder)?.modified()
}

/// The bytes of files, one after the other.
pub(crate) struct Files {
    next: std::vec::IntoIter<PathBuf>,
    open: Option<fs::File>,
}

impl Files {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { next: files.into_iter(), open: None }
    }
}

#[async_trait]
impl Pieces for Files {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            let file = match self.open.take() {
                Some(file) => file,
                None => match self.next.next() {
                    None => return Ok(None),
                    Some(path) => blocking(move || Ok(fs::File::open(path)?)).await?,
                },
            };
            let (file, piece) = read(file, PIECE as u64).await?;
            if !piece.is_empty() {
                self.open = Some(file);
                return Ok(Some(piece));
            }
        }
    }
}

/// At most so many of one file's bytes.
pub(crate) struct FilePart {
    open: Option<fs::File>,
    left: u64,
}

impl FilePart {
    pub(crate) fn new(file: fs::File, length: u64) -> Self {
        Self { open: Some(file), left: length }
    }
}

#[async_trait]
impl Pieces for FilePart {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let Some(file) = self.open.take().filter(|_| self.left > 0) else { return Ok(None) };
        let (file, piece) = read(file, self.left.min(PIECE as u64)).await?;
        if piece.is_empty() {
            return Err(BlobError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= piece.len() as u64;
        self.open = Some(file);
        Ok(Some(piece))
    }
}

async fn read(file: fs::File, most: u64) -> Result<(fs::File, Bytes), BlobError> {
    blocking(move || {
        let mut piece = Vec::with_capacity(most as usize);
        (&file).take(most).read_to_end(&mut piece)?;
        Ok((file, piece.into()))
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_leaves_no_entry() {
        let (tallies, data) = (Tallies::default(), tempfile::tempdir().unwrap());
        let folder = data.path().join("a");
        let before = tallies.of(&folder).unwrap();
        assert_eq!((before.blocks, tallies.lock().len()), (0, 0));
        tallies.came(&folder, before, 4, 10, None);
        tallies.came(&folder, tallies.of(&folder).unwrap(), 4, 3, Some(10));
        let tally = tallies.of(&folder).unwrap();
        assert_eq!((tally.blocks, tally.bytes, tally.name_length), (1, 3, Some(4)));
        tallies.forget(&folder);
        assert_eq!(tallies.lock().len(), 0);
    }
}
