//! A file that is being written: under a name of its own until it is whole and on disk.

use std::path::{Path, PathBuf};

use ferrohub_core::blobs::{BlobError, Pieces};
use md5::{Digest as _, Md5};
use tokio::fs::{File, OpenOptions, rename};
use tokio::io::AsyncWriteExt as _;

use crate::place::{Places, fresh_name};
use crate::quota::{Quota, Share};

/// Removed when dropped, unless it has moved to its place.
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    share: Share,
    bytes: u64,
    limit: u64,
    md5: Md5,
    moved: bool,
}

/// A part that is on disk.
pub(crate) struct Whole {
    part: Part,
    pub(crate) bytes: u64,
    pub(crate) md5: [u8; 16],
}

impl Part {
    /// Begins a file of at most `limit` bytes.
    pub(crate) async fn create(places: &Places, quota: &Quota, limit: u64) -> Result<Self, BlobError> {
        let path = places.parts().join(fresh_name());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
        Ok(Self { path, file, share: quota.share(), bytes: 0, limit, md5: Md5::new(), moved: false })
    }

    /// Writes all that comes.
    pub(crate) async fn take(&mut self, pieces: &mut dyn Pieces) -> Result<(), BlobError> {
        while let Some(piece) = pieces.next().await? {
            let more = piece.len() as u64;
            if more > self.limit - self.bytes {
                return Err(BlobError::TooLarge(self.limit));
            }
            self.share.grow(more)?;
            self.bytes += more;
            self.md5.update(&piece);
            self.file.write_all(&piece).await.map_err(io_or_full)?;
        }
        Ok(())
    }

    /// Sees that it is on disk, and that it is what the sender meant.
    pub(crate) async fn finish(mut self, expected: Option<[u8; 16]>) -> Result<Whole, BlobError> {
        let md5: [u8; 16] = std::mem::take(&mut self.md5).finalize().into();
        if expected.is_some_and(|expected| expected != md5) {
            return Err(BlobError::Md5Mismatch);
        }
        self.file.flush().await.map_err(io_or_full)?;
        self.file.sync_all().await.map_err(io_or_full)?;
        Ok(Whole { bytes: self.bytes, md5, part: self })
    }
}

impl Whole {
    /// Moves it to its place; for it to stay there when the power goes, the folder has yet to be synced. Its bytes stay
    /// taken.
    pub(crate) async fn move_to(mut self, path: &Path) -> Result<(), BlobError> {
        rename(&self.part.path, path).await?;
        self.part.moved = true;
        let share = std::mem::replace(&mut self.part.share, Quota::new(0).share());
        share.keep();
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.moved {
            // What cannot be removed now is removed at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A full disk is a full folder.
pub(crate) fn io_or_full(error: std::io::Error) -> BlobError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BlobError::Full,
        _ => BlobError::Io(error),
    }
}

/// Runs what waits for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|cause| Err(BlobError::Io(std::io::Error::other(cause))))
}
