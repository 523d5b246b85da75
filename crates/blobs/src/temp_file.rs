//! A file that is being written: it has a temporary name until it is complete and synced.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::files::{BlobError, ByteStream};
use md5::{Digest as _, Md5};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::file_system::FileSystem;
use crate::paths::{DeviceKey, Paths, random_name};
use crate::quota::{Quota, Reservation};

/// The name of a file that is not complete. Dropping it removes the file, unless it is kept.
struct TempName {
    files: Arc<dyn FileSystem>,
    path: PathBuf,
    keep: bool,
}

impl Drop for TempName {
    fn drop(&mut self) {
        if !self.keep {
            // If this fails, the next start removes the file.
            let _ = self.files.remove_file(&self.path);
        }
    }
}

/// The file while it is written.
enum Output {
    /// Nothing is being written.
    Idle(File),
    /// A chunk is being written, while the next one arrives.
    Writing(JoinHandle<io::Result<File>>),
    /// A write failed.
    Failed,
}

/// A temporary file. Dropping it removes the file, unless it was persisted.
pub(crate) struct TempFile {
    name: TempName,
    output: Output,
    reservation: Reservation,
    bytes: u64,
    limit: u64,
    md5: Md5,
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
        let (files, path) = (paths.files().clone(), paths.temp().join(random_name()));
        // The name is made with the file: a caller that is cancelled meanwhile leaves no file behind.
        let create = move || {
            let file = files.create_file(&path).map_err(io_or_full)?;
            Ok((TempName { files, path, keep: false }, file))
        };
        let (name, file) = blocking(create).await?;
        let output = Output::Idle(file);
        Ok(Self { name, output, reservation: quota.reservation(owner), bytes: 0, limit, md5: Md5::new() })
    }

    /// Waits for the last write.
    async fn written(&mut self) -> Result<File, BlobError> {
        match std::mem::replace(&mut self.output, Output::Failed) {
            Output::Idle(file) => Ok(file),
            Output::Writing(write) => {
                write.await.map_err(|error| BlobError::Io(io::Error::other(error)))?.map_err(io_or_full)
            }
            Output::Failed => Err(BlobError::Io(io::Error::other("an earlier write failed"))),
        }
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
            self.append(chunk).await?;
        }
        Ok(())
    }

    /// Starts to write a chunk after the last one.
    async fn append(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        let mut file = self.written().await?;
        let (files, path) = (self.name.files.clone(), self.name.path.clone());
        let write = move || files.append(&path, &mut file, &chunk).map(|()| file);
        self.output = Output::Writing(spawn_blocking(write));
        Ok(())
    }

    /// Checks the MD5 digest if the sender sent one, and syncs the file.
    pub(crate) async fn finish(mut self, expected: Option<[u8; 16]>) -> Result<CompleteFile, BlobError> {
        let md5: [u8; 16] = std::mem::take(&mut self.md5).finalize().into();
        if expected.is_some_and(|expected| expected != md5) {
            return Err(BlobError::Md5Mismatch);
        }
        let file = self.written().await?;
        let (files, path) = (self.name.files.clone(), self.name.path.clone());
        blocking(move || files.sync_file(&path, &file).map_err(io_or_full)).await?;
        Ok(CompleteFile { bytes: self.bytes, md5, temp: self })
    }
}

impl CompleteFile {
    /// Renames the file to `path` and keeps its bytes in the quota. The rename survives a power loss only after the
    /// caller has synced the folder.
    pub(crate) async fn persist(mut self, path: &Path) -> Result<(), BlobError> {
        let (files, from, to) =
            (self.temp.name.files.clone(), self.temp.name.path.clone(), path.to_path_buf());
        blocking(move || files.rename(&from, &to).map_err(io_or_full)).await?;
        self.temp.name.keep = true;
        self.temp.reservation.commit();
        Ok(())
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
