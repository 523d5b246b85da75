//! The content of a blob or block while it is received.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ferrohub_core::files::{BlobError, ByteStream};
use md5::{Digest as _, Md5};

use super::usage::Usage;

/// Content that is being received, and counts as used. Dropping it releases its bytes, unless it is kept.
pub(super) struct Upload {
    usage: Arc<Usage>,
    device: String,
    content: BytesMut,
    limit: u64,
    is_kept: bool,
}

impl Upload {
    pub(super) fn new(usage: Arc<Usage>, device: &str, limit: u64) -> Self {
        Self { usage, device: device.to_owned(), content: BytesMut::new(), limit, is_kept: false }
    }

    /// Receives the whole stream.
    pub(super) async fn receive(&mut self, stream: &mut dyn ByteStream) -> Result<(), BlobError> {
        while let Some(chunk) = stream.next().await? {
            self.append(&chunk)?;
        }
        Ok(())
    }

    pub(super) fn append(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        let more = chunk.len() as u64;
        if self.bytes() + more > self.limit {
            return Err(BlobError::TooLarge(self.limit));
        }
        self.usage.add(&self.device, more)?;
        self.content.extend_from_slice(chunk);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.content.len() as u64
    }

    /// Returns the MD5 digest of the content, which must be `expected` if the sender gave one.
    pub(super) fn check_md5(&self, expected: Option<[u8; 16]>) -> Result<[u8; 16], BlobError> {
        let md5: [u8; 16] = Md5::digest(&self.content).into();
        if expected.is_some_and(|expected| expected != md5) {
            return Err(BlobError::Md5Mismatch);
        }
        Ok(md5)
    }

    /// Returns the content, whose bytes stay used.
    pub(super) fn keep(mut self) -> Bytes {
        self.is_kept = true;
        std::mem::take(&mut self.content).freeze()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_kept {
            self.usage.release(&self.device, self.bytes());
        }
    }
}
