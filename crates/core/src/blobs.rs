//! The `BlobStore` port: where the files that devices upload are kept.
//!
//! Two adapters: a folder of the hub's own, which the hub's HTTPS listener serves to whoever has a signed URL
//! ([`BlobFolder`]), and a container of Azure Storage, to which devices upload themselves. For both, the hub signs the
//! URLs ([`ferrohub_model::blob_sas`]).

mod condition;
mod signing_keys;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_model::file::BlobName;
use ferrohub_model::{SharedAccessKey, Timestamp};

pub use condition::{Condition, ConditionFailed, EtagMatch};
pub(crate) use signing_keys::UrlSigningKeys;

use crate::store::StoreError;

/// What a blob carries besides its bytes: headers of answers by their names in small letters, such as `content-type`
/// or `x-ms-meta-…`.
pub type BlobProperties = BTreeMap<String, String>;

/// A blob as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub name: BlobName,
    /// Its size.
    pub bytes: u64,
    /// Changes with every write; no quotes.
    pub etag: String,
    /// When it was last written.
    pub modified: Timestamp,
    /// What it carries.
    pub properties: BlobProperties,
}

/// Why the store of files could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No such blob.
    #[error("there is no such blob")]
    NotFound,
    /// A condition of the request does not hold.
    #[error(transparent)]
    Condition(#[from] ConditionFailed),
    /// The blob would be larger than the limit, in bytes.
    #[error("a blob has at most {0} bytes")]
    TooLarge(u64),
    /// The folder is full, or the disk is.
    #[error("the folder for files is full")]
    Full,
    /// There are as many blocks without a blob as may be.
    #[error("there are too many uncommitted blocks")]
    TooManyBlocks,
    /// The list names a block that was never put.
    #[error("the list names a block that is not there")]
    UnknownBlock,
    /// The block's id is no base64 of 1 to 64 bytes, or has another length than those before.
    #[error("the id of the block is not valid")]
    InvalidBlockId,
    /// The bytes are not those that the digest was made of.
    #[error("the bytes do not have the MD5 that was told")]
    Md5Mismatch,
    /// The sender stopped, or took too long.
    #[error("the sender broke off: {0}")]
    IncompleteBody(&'static str),
    /// The medium failed.
    #[error("the medium failed: {0}")]
    Io(#[from] io::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The storage elsewhere does not answer as it should.
    #[error("the storage does not answer as it should: {0}")]
    Unavailable(String),
}

/// Bytes that come piece by piece.
#[async_trait]
pub trait ByteStream: Send {
    /// The next piece; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError>;
}

/// Which bytes of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first.
    pub from: u64,
    /// The last; none for the end of the blob.
    pub to: Option<u64>,
}

impl ByteRange {
    /// What this range is of a blob of so many bytes: where it begins, and how long it is; none if it begins behind the
    /// end.
    #[must_use]
    pub fn within(self, bytes: u64) -> Option<(u64, u64)> {
        let to = self.to.unwrap_or(u64::MAX).min(bytes.checked_sub(1)?);
        let length = to.checked_sub(self.from)? + 1;
        Some((self.from, length))
    }
}

/// A blob and its bytes, or a range of them.
pub struct OpenBlob {
    /// The blob.
    pub blob: Blob,
    /// Where the bytes begin.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
    /// The bytes.
    pub stream: Box<dyn ByteStream>,
}

/// Where clients find the files, and as what the hub signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEndpoint {
    /// Host, with a port where it is not the usual one; for an emulator of Azure Storage also the first part of the path.
    pub host: String,
    /// The account that signatures are for.
    pub account: String,
    /// The container.
    pub container: String,
    /// Whether it is `https`.
    pub https: bool,
}

impl BlobEndpoint {
    /// The address of a blob, without anything that lets somebody in.
    #[must_use]
    pub fn uri(&self, blob: &BlobName) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}/{}/{}", self.host, self.container, blob.encoded())
    }
}

/// Where uploaded files are.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Where clients find them.
    fn endpoint(&self) -> &BlobEndpoint;

    /// The blob of that name.
    async fn stat(&self, name: &BlobName) -> Result<Option<Blob>, BlobError>;
}

/// Files in a folder of the hub's own.
#[async_trait]
pub trait BlobFolder: BlobStore {
    /// Makes or replaces a blob. It is there as a whole or not at all, and on disk when this returns.
    async fn put(
        &self,
        name: &BlobName,
        options: PutOptions,
        stream: &mut dyn ByteStream,
    ) -> Result<Blob, BlobError>;

    /// Keeps a part of a blob to be; on disk when this returns. The answer is its MD5.
    async fn put_block(
        &self,
        name: &BlobName,
        id: &str,
        md5: Option<[u8; 16]>,
        stream: &mut dyn ByteStream,
    ) -> Result<[u8; 16], BlobError>;

    /// Makes a blob of parts, in that order. Parts that are not named are thrown away.
    async fn put_block_list(
        &self,
        name: &BlobName,
        ids: &[String],
        options: PutOptions,
    ) -> Result<Blob, BlobError>;

    /// Opens a blob for reading. A range that begins behind its end gives no bytes.
    async fn open(&self, name: &BlobName, range: Option<ByteRange>) -> Result<OpenBlob, BlobError>;

    /// Removes a blob.
    async fn delete(&self, name: &BlobName, condition: &Condition) -> Result<(), BlobError>;

    /// Blobs in the order of their names: those of a device, or all; behind `after`; at most `top`.
    async fn list(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, BlobError>;

    /// Whether anything more can be put there at all.
    fn has_room(&self) -> bool;

    /// Throws the parts of a blob to be away.
    async fn discard_blocks(&self, name: &BlobName) -> Result<(), BlobError>;

    /// Removes parts that nobody has added to since `before`.
    async fn discard_stale_blocks(&self, before: Timestamp) -> Result<(), BlobError>;
}

/// Where a hub's files are.
#[derive(Clone)]
pub enum FileStorage {
    /// In a folder of its own.
    Folder(Arc<dyn BlobFolder>),
    /// In an account of Azure Storage, whose key signs.
    Account(Arc<dyn BlobStore>, SharedAccessKey),
}

/// What a new blob shall be like.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// What it carries.
    pub properties: BlobProperties,
    /// The digest of what is sent, if the sender told it.
    pub md5: Option<[u8; 16]>,
    /// When it may be written.
    pub condition: Condition,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_with_the_blob() {
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
