//! A stream of the content of a blob in memory.

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::files::{BlobError, ByteStream};

/// Maximum size of a chunk in bytes.
const CHUNK_SIZE: usize = 256 * 1024;

/// A part of a blob, from its current position on. The blob may be replaced meanwhile.
pub(super) struct Content(Bytes);

impl Content {
    /// Returns the part of `length` bytes at `offset`, which must be in the blob.
    pub(super) fn new(blob: &Bytes, offset: u64, length: u64) -> Self {
        let position = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(blob.len());
        Self(blob.slice(position(offset)..position(offset.saturating_add(length))))
    }
}

#[async_trait]
impl ByteStream for Content {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let chunk = self.0.split_to(self.0.len().min(CHUNK_SIZE));
        Ok(Some(chunk))
    }
}
