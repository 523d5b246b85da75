//! A file that is being written: it has a temporary name until it is complete and synced.

use std::path::{Path, PathBuf};

use ferrohub_core::files::{BlobError, ByteStream};
use md5::{Digest as _, Md5};
use tokio::fs::{File, OpenOptions, rename};
use tokio::io::AsyncWriteExt as _;

use crate::paths::{DeviceKey, Paths, random_name};
use crate::quota::{Quota, Reservation};

/// A temporary file. Dropping it removes the file, unless it was persisted.
pub(crate) struct TempFile {
    path: PathBuf,
    file: File,
    reservation: Reservation,
    bytes: u64,
    limit: u64,
    md5: Md5,
    persisted: bool,
}

/// A complete and synced file that still has its temporary name.
pub(crate) struct CompleteFile {
    temp: TempFile,
    pub(crate) bytes: u64,
    pub(crate) md5: [u8; 16],
}

impl TempFile {
    /// Creates a file of at most `limit` bytes, which counts toward the quota of the device `owner`.
    pub(crate) async fn create(
        paths: &Paths,
        quota: &Quota,
        owner: DeviceKey,
        limit: u64,
    ) -> Result<Self, BlobError> {
        let path = paths.temp().join(random_name());
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await;
        let file = opened.map_err(io_or_full)?;
        Ok(Self {
            path,
            file,
            reservation: quota.reservation(owner),
            bytes: 0,
            limit,
            md5: Md5::new(),
            persisted: false,
        })
    }

    /// Writes the whole stream.
    pub(crate) async fn write_stream(&mut self, stream: &mut dyn ByteStream) -> Result<(), BlobError> {
        while let Some(chunk) = stream.next().await? {
            let more = chunk.len() as u64;
            if more > self.limit - self.bytes {
                return Err(BlobError::TooLarge(self.limit));
            }
            self.reservation.grow(more)?;
            self.bytes += more;
            self.md5.update(&chunk);
            self.file.write_all(&chunk).await.map_err(io_or_full)?;
        }
        Ok(())
    }

    /// Checks the MD5 digest if the sender sent one, and syncs the file.
    pub(crate) async fn finish(mut self, expected: Option<[u8; 16]>) -> Result<CompleteFile, BlobError> {
        let md5: [u8; 16] = std::mem::take(&mut self.md5).finalize().into();
        if expected.is_some_and(|expected| expected != md5) {
            return Err(BlobError::Md5Mismatch);
        }
        self.file.flush().await.map_err(io_or_full)?;
        self.file.sync_all().await.map_err(io_or_full)?;
        Ok(CompleteFile { bytes: self.bytes, md5, temp: self })
    }
}

impl CompleteFile {
    /// Renames the file to `path` and keeps its bytes in the quota. The rename survives a power loss only after the
    /// caller has synced the folder.
    pub(crate) async fn persist(mut self, path: &Path) -> Result<(), BlobError> {
        rename(&self.temp.path, path).await.map_err(io_or_full)?;
        self.temp.persisted = true;
        self.temp.reservation.commit();
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.persisted {
            // If this fails, the next start removes the file.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Converts an I/O error. A full disk is reported like a full folder.
pub(crate) fn io_or_full(error: std::io::Error) -> BlobError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BlobError::Full,
        _ => BlobError::Io(error),
    }
}

/// Runs work that waits for the disk on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| Err(BlobError::Io(std::io::Error::other(error))))
}
