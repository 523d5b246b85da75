//! The `BlobStore` port: storage of the files that devices upload.
//!
//! There are two adapters. [`BlobFolder`] is the hub's own folder: the hub's HTTPS listener serves it to clients that
//! have a signed URL. The other is a container of Azure Storage, to which devices upload directly. For both, the hub
//! signs the URLs ([`ferrohub_model::blob_sas`]).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferrohub_model::file::BlobName;
use ferrohub_model::random::random_bytes;
use ferrohub_model::{SharedAccessKey, Timestamp};

use super::condition::{Condition, ConditionFailed};
use crate::store_error::StoreError;
use crate::uncancelled::Interrupted;

/// The properties and metadata of a blob: response headers by lower-case name, such as `content-type` or `x-ms-meta-…`.
pub type BlobProperties = BTreeMap<String, String>;

/// The current state of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The name.
    pub name: BlobName,
    /// The size in bytes.
    pub bytes: u64,
    /// The etag, without quotes. It changes with every write.
    pub etag: String,
    /// The time of the last write.
    pub modified: Timestamp,
    /// The properties and metadata.
    pub properties: BlobProperties,
}

impl Blob {
    /// Returns the state of a blob that is written now: it has a new etag, and the MD5 of its content as `content-md5`
    /// unless the client chose another value.
    #[must_use]
    pub fn written(
        name: BlobName,
        bytes: u64,
        md5: [u8; 16],
        mut properties: BlobProperties,
        now: Timestamp,
    ) -> Self {
        properties.entry("content-md5".to_owned()).or_insert_with(|| STANDARD.encode(md5));
        let etag = format!("0x{:016X}", u64::from_le_bytes(random_bytes()));
        Self { name, bytes, etag, modified: now, properties }
    }
}

/// Why an operation of the blob store failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The blob does not exist.
    #[error("the blob does not exist")]
    NotFound,
    /// A condition of the request is not met.
    #[error(transparent)]
    Condition(#[from] ConditionFailed),
    /// The blob would be larger than this limit in bytes.
    #[error("the blob is larger than {0} bytes")]
    TooLarge(u64),
    /// The file store has reached its size limit, or the disk is full.
    #[error("the file store is full (files.total_bytes), or the disk is full")]
    Full,
    /// The files of the device would together be larger than this limit in bytes.
    #[error("the files of the device are together larger than {0} bytes (files.bytes_per_device)")]
    DeviceFull(u64),
    /// The maximum number of blocks is reached.
    #[error("the blob has too many blocks")]
    TooManyBlocks,
    /// The block list names a block that was not uploaded.
    #[error("the block list names an unknown block")]
    UnknownBlock,
    /// The block id is not base64 of 1 to 64 bytes, or differs in length from the blob's other block ids.
    #[error("the block id is not valid")]
    InvalidBlockId,
    /// The content does not match the MD5 digest of the request.
    #[error("the MD5 of the content does not match Content-MD5")]
    Md5Mismatch,
    /// The sender aborted the upload, or was too slow.
    #[error("the upload was aborted: {0}")]
    IncompleteBody(&'static str),
    /// An I/O operation failed.
    #[error("I/O error: {0}")]
    Io(#[from] io::Error),
    /// A store operation on the blob catalogue failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The external storage account is unreachable or returned an unexpected response.
    #[error("the request to the storage account failed: {0}")]
    Unavailable(String),
}

impl From<Interrupted> for BlobError {
    fn from(error: Interrupted) -> Self {
        Self::Io(io::Error::other(error))
    }
}

/// A stream of byte chunks.
#[async_trait]
pub trait ByteStream: Send {
    /// Returns the next chunk, or `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError>;
}

/// A byte range of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub from: u64,
    /// The last byte, inclusive; `None` for the end of the blob.
    pub to: Option<u64>,
}

impl ByteRange {
    /// Clamps the range to a blob of `bytes` bytes and returns its offset and length. Returns `None` if the range
    /// starts after the end of the blob or is empty.
    #[must_use]
    pub fn within(self, bytes: u64) -> Option<(u64, u64)> {
        let to = self.to.unwrap_or(u64::MAX).min(bytes.checked_sub(1)?);
        let length = to.checked_sub(self.from)? + 1;
        Some((self.from, length))
    }
}

/// A blob opened for reading, as a whole or a range.
pub struct OpenBlob {
    /// The blob.
    pub blob: Blob,
    /// The offset of the first byte of `stream` in the blob.
    pub offset: u64,
    /// The number of bytes that `stream` returns.
    pub length: u64,
    /// The content.
    pub stream: Box<dyn ByteStream>,
}

/// The address of the blob container, as clients reach it and as the hub signs URLs for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEndpoint {
    /// The host, with the port unless it is the default. For an emulator of Azure Storage it also includes the first
    /// path segment.
    pub host: String,
    /// The storage account named in signatures.
    pub account: String,
    /// The container name.
    pub container: String,
    /// Whether the scheme is `https`.
    pub https: bool,
}

impl BlobEndpoint {
    /// Returns the URL of a blob, without a signature.
    #[must_use]
    pub fn uri(&self, blob: &BlobName) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}/{}/{}", self.host, self.container, blob.encoded())
    }
}

/// A store of uploaded files.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Returns the address that clients use.
    fn endpoint(&self) -> &BlobEndpoint;

    /// Returns the blob with this name, or `None` if it does not exist.
    async fn stat(&self, name: &BlobName) -> Result<Option<Blob>, BlobError>;
}

/// Size limits of a [`BlobFolder`].
#[derive(Debug, Clone, Copy)]
pub struct FolderLimits {
    /// Maximum size of one blob in bytes.
    pub blob_bytes: u64,
    /// Maximum size of all blobs in bytes, including those that are being written, and of uncommitted blocks.
    pub total_bytes: u64,
    /// Maximum size of the blobs of one device in bytes, including those that are being written, and of its uncommitted
    /// blocks.
    pub device_bytes: u64,
}

/// A blob store in a local folder of the hub.
#[async_trait]
pub trait BlobFolder: BlobStore {
    /// Creates or replaces a blob atomically. The blob is persisted when this returns.
    async fn put(
        &self,
        name: &BlobName,
        options: PutOptions,
        stream: &mut dyn ByteStream,
    ) -> Result<Blob, BlobError>;

    /// Stores an uncommitted block of a blob and returns its MD5. The block is persisted when this returns.
    async fn put_block(
        &self,
        name: &BlobName,
        id: &str,
        md5: Option<[u8; 16]>,
        stream: &mut dyn ByteStream,
    ) -> Result<[u8; 16], BlobError>;

    /// Creates or replaces a blob from uncommitted blocks, in the order of `ids`. Blocks not listed are discarded.
    async fn put_block_list(
        &self,
        name: &BlobName,
        ids: &[String],
        options: PutOptions,
    ) -> Result<Blob, BlobError>;

    /// Opens a blob for reading. A range that starts after the end of the blob yields no bytes.
    async fn open(&self, name: &BlobName, range: Option<ByteRange>) -> Result<OpenBlob, BlobError>;

    /// Deletes a blob.
    async fn delete(&self, name: &BlobName, condition: &Condition) -> Result<(), BlobError>;

    /// Lists at most `top` blobs in name order, starting after the name `after`; of one device, or of all if `device`
    /// is `None`.
    async fn list(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, BlobError>;

    /// Checks that the folder accepts more data for a blob.
    ///
    /// # Errors
    /// [`BlobError::Full`], or [`BlobError::DeviceFull`] if only the blob's device has reached its limit.
    fn check_quota(&self, name: &BlobName) -> Result<(), BlobError>;

    /// Discards the uncommitted blocks of a blob.
    async fn discard_blocks(&self, name: &BlobName) -> Result<(), BlobError>;

    /// Discards the uncommitted blocks of all blobs whose latest block was uploaded before `before`.
    async fn discard_stale_blocks(&self, before: Timestamp) -> Result<(), BlobError>;
}

/// The storage that a hub uses for uploaded files.
#[derive(Clone)]
pub enum FileStorage {
    /// A local folder.
    Folder(Arc<dyn BlobFolder>),
    /// An Azure Storage account, and the account key that signs URLs.
    Account(Arc<dyn BlobStore>, SharedAccessKey),
}

/// Options of a blob write.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// The properties and metadata of the new blob.
    pub properties: BlobProperties,
    /// The MD5 of the content, if the sender gave one.
    pub md5: Option<[u8; 16]>,
    /// The condition for the write.
    pub condition: Condition,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_clamped_to_the_blob() {
        let range = |from, to| ByteRange { from, to };
        assert_eq!(range(0, None).within(10), Some((0, 10)));
        assert_eq!(range(3, Some(4)).within(10), Some((3, 2)));
        assert_eq!(range(3, Some(99)).within(10), Some((3, 7)));
        assert_eq!(range(10, None).within(10), None);
        assert_eq!(range(0, Some(0)).within(0), None);
        assert_eq!(range(5, Some(4)).within(10), None);
        assert_eq!(range(0, Some(u64::MAX)).within(u64::MAX), Some((0, u64::MAX)));
    }
}
