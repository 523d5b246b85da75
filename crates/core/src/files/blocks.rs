//! The rules for blocks: a large blob is uploaded in blocks, which a list then puts together. As in Azure Storage.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::BlobError;

/// Maximum number of blocks of one blob, as in Azure.
pub const MAX_BLOCKS: usize = 50_000;
/// Maximum number of uncommitted blocks of one blob, as in Azure.
pub const MAX_UNCOMMITTED_BLOCKS: usize = 100_000;
/// Longest decoded block id in bytes, as in Azure.
const MAX_BLOCK_ID: usize = 64;

/// The id of a block, which the client chooses: 1 to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(Vec<u8>);

impl BlockId {
    /// Parses an id as it is in a request: in base64.
    ///
    /// # Errors
    /// [`BlobError::InvalidBlockId`].
    pub fn parse(base64: &str) -> Result<Self, BlobError> {
        let bytes = STANDARD.decode(base64).map_err(|_| BlobError::InvalidBlockId)?;
        if bytes.is_empty() || bytes.len() > MAX_BLOCK_ID {
            return Err(BlobError::InvalidBlockId);
        }
        Ok(Self(bytes))
    }

    /// Returns the decoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The number and size of the uncommitted blocks of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UncommittedBlocks {
    /// Their number.
    pub blocks: usize,
    /// Their total size.
    pub bytes: u64,
    /// The length of each block's decoded id: all have the same. `None` if there is no block.
    pub id_length: Option<usize>,
}

impl UncommittedBlocks {
    /// Returns how large one more block may be. `replaced` is the size of the block with the same id, if there is one.
    /// The uncommitted blocks of a blob together have the size limit of one blob, which is `blob_bytes`.
    ///
    /// # Errors
    /// [`BlobError::TooManyBlocks`], or [`BlobError::InvalidBlockId`] if the other ids have another length.
    pub fn max_bytes(self, id: &BlockId, replaced: Option<u64>, blob_bytes: u64) -> Result<u64, BlobError> {
        if self.blocks >= MAX_UNCOMMITTED_BLOCKS && replaced.is_none() {
            return Err(BlobError::TooManyBlocks);
        }
        if self.id_length.is_some_and(|length| length != id.0.len()) {
            return Err(BlobError::InvalidBlockId);
        }
        Ok((blob_bytes + replaced.unwrap_or(0)).saturating_sub(self.bytes))
    }

    /// Returns the number and size with one more block. `replaced` is the size of the block with the same id, if there
    /// was one.
    #[must_use]
    pub fn with(self, id: &BlockId, bytes: u64, replaced: Option<u64>) -> Self {
        Self {
            blocks: self.blocks + usize::from(replaced.is_none()),
            bytes: (self.bytes + bytes).saturating_sub(replaced.unwrap_or(0)),
            id_length: Some(id.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> BlockId {
        BlockId::parse(&STANDARD.encode(text)).unwrap()
    }

    #[test]
    fn an_id_is_base64_of_1_to_64_bytes() {
        for bad in ["", "..", "Li4vLi4v=", "%2F", &STANDARD.encode([0; 65])] {
            assert!(matches!(BlockId::parse(bad), Err(BlobError::InvalidBlockId)), "{bad}");
        }
        assert_eq!(BlockId::parse(&STANDARD.encode([7; 64])).unwrap().as_bytes(), [7; 64]);
    }

    #[test]
    fn blocks_share_the_size_limit_of_their_blob_and_the_length_of_their_ids() {
        let none = UncommittedBlocks::default();
        assert_eq!(none.max_bytes(&id("1"), None, 10).unwrap(), 10);
        let one = none.with(&id("1"), 6, None);
        assert_eq!(one, UncommittedBlocks { blocks: 1, bytes: 6, id_length: Some(1) });
        assert_eq!(one.max_bytes(&id("2"), None, 10).unwrap(), 4);
        assert_eq!(one.max_bytes(&id("1"), Some(6), 10).unwrap(), 10, "it is replaced");
        assert!(matches!(one.max_bytes(&id("22"), None, 10), Err(BlobError::InvalidBlockId)));
        assert_eq!(one.with(&id("1"), 2, Some(6)).bytes, 2);
        let full = UncommittedBlocks { blocks: MAX_UNCOMMITTED_BLOCKS, ..one };
        assert!(matches!(full.max_bytes(&id("2"), None, 10), Err(BlobError::TooManyBlocks)));
        assert_eq!(full.max_bytes(&id("1"), Some(6), 10).unwrap(), 10);
        assert_eq!(full.with(&id("1"), 6, Some(6)).blocks, MAX_UNCOMMITTED_BLOCKS);
    }
}
