//! What every folder of uploaded files does. Each test gets a new folder.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferrohub_core::files::{
    BlobError, BlobFolder, ByteRange, ByteStream, Condition, ConditionFailed, EtagMatch, FolderLimits,
    OpenBlob, PutOptions,
};
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;

use crate::Fixture;

/// What the clock of the folder shows.
pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// Opens a folder with these limits.
pub trait OpenFolder: AsyncFn(FolderLimits) -> Fixture<dyn BlobFolder> {}

impl<F: AsyncFn(FolderLimits) -> Fixture<dyn BlobFolder>> OpenFolder for F {}

/// The limits of a blob and of the folder. A device has no limit of its own.
fn limits(blob_bytes: u64, total_bytes: u64) -> FolderLimits {
    FolderLimits { blob_bytes, total_bytes, device_bytes: total_bytes }
}

/// Chunks, and then the end of the stream or an error.
pub struct Chunks {
    chunks: std::vec::IntoIter<&'static [u8]>,
    is_complete: bool,
}

impl Chunks {
    #[must_use]
    pub fn complete(chunks: &[&'static [u8]]) -> Self {
        Self { chunks: Vec::from(chunks).into_iter(), is_complete: true }
    }

    /// A stream that fails after the chunks.
    #[must_use]
    pub fn aborted(chunks: &[&'static [u8]]) -> Self {
        Self { is_complete: false, ..Self::complete(chunks) }
    }
}

#[async_trait]
impl ByteStream for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        match self.chunks.next() {
            Some(chunk) => Ok(Some(Bytes::from_static(chunk))),
            None if self.is_complete => Ok(None),
            None => Err(BlobError::IncompleteBody("interrupted by the test")),
        }
    }
}

fn name(text: &str) -> BlobName {
    BlobName::parse(text).unwrap()
}

/// A block id as in a request.
fn id(text: &str) -> String {
    STANDARD.encode(text)
}

async fn read_all(mut open: OpenBlob) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = open.stream.next().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len() as u64, open.length);
    bytes
}

async fn content(folder: &dyn BlobFolder, blob: &str) -> Vec<u8> {
    read_all(folder.open(&name(blob), None).await.unwrap()).await
}

async fn put(folder: &dyn BlobFolder, blob: &str, bytes: &'static [u8]) -> Result<(), BlobError> {
    let blob = folder.put(&name(blob), PutOptions::default(), &mut Chunks::complete(&[bytes])).await?;
    assert_eq!(blob.bytes, bytes.len() as u64);
    Ok(())
}

async fn put_block(
    folder: &dyn BlobFolder,
    blob: &str,
    block: &str,
    bytes: &'static [u8],
) -> Result<(), BlobError> {
    folder.put_block(&name(blob), &id(block), None, &mut Chunks::complete(&[bytes])).await.map(drop)
}

pub async fn a_blob_is_written_read_replaced_and_deleted(open: impl OpenFolder) {
    let folder = open(limits(100, 100)).await;
    let f = name("d/f");
    let first =
        folder.put(&f, PutOptions::default(), &mut Chunks::complete(&[b"abc", b"", b"def"])).await.unwrap();
    assert_eq!((first.bytes, first.modified, folder.stat(&f).await.unwrap()), (6, NOW, Some(first.clone())));
    assert_eq!(first.properties["content-md5"], "6AtQFwmJUPxYqtg8jBSXjg==");
    assert_eq!(content(&**folder, "d/f").await, b"abcdef");
    let range = |from, to| Some(ByteRange { from, to });
    let part = folder.open(&f, range(2, Some(3))).await.unwrap();
    assert_eq!((part.offset, part.blob.bytes), (2, 6));
    assert_eq!(read_all(part).await, b"cd");
    assert_eq!(folder.open(&f, range(6, None)).await.unwrap().length, 0, "after the end");

    // An open reader continues to read the old blob.
    let old = folder.open(&f, None).await.unwrap();
    let properties =
        [("content-md5".to_owned(), "chosen".to_owned()), ("x-ms-meta-a".to_owned(), "1".to_owned())];
    let options = PutOptions { properties: properties.into(), ..PutOptions::default() };
    let second = folder.put(&f, options.clone(), &mut Chunks::complete(&[b"x"])).await.unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(second.properties, options.properties);
    assert_eq!(read_all(old).await, b"abcdef");
    assert_eq!(content(&**folder, "d/f").await, b"x");
    folder.delete(&f, &Condition::default()).await.unwrap();
    assert!(matches!(folder.delete(&f, &Condition::default()).await, Err(BlobError::NotFound)));
    assert!(matches!(folder.open(&f, None).await, Err(BlobError::NotFound)));
    assert_eq!(folder.stat(&f).await.unwrap(), None);
}

pub async fn blocks_become_a_blob_in_the_order_of_the_list(open: impl OpenFolder) {
    let folder = open(limits(100, 100)).await;
    let f = name("d/f");
    for (block, bytes) in [("1", &b"one "[..]), ("2", b"two "), ("3", b"three "), ("2", b"zwei ")] {
        put_block(&**folder, "d/f", block, bytes).await.unwrap();
    }
    assert_eq!(folder.stat(&f).await.unwrap(), None, "uncommitted blocks are not a blob");
    for (bad, error) in [(id("22"), "length"), ("?".to_owned(), "base64"), (String::new(), "empty")] {
        let refused = folder.put_block(&f, &bad, None, &mut Chunks::complete(&[b"x"])).await;
        assert!(matches!(refused, Err(BlobError::InvalidBlockId)), "{error}");
    }
    let unknown = folder.put_block_list(&f, &[id("1"), id("9")], PutOptions::default()).await;
    assert!(matches!(unknown, Err(BlobError::UnknownBlock)));
    let too_many = vec![id("1"); 50_001];
    let refused = folder.put_block_list(&f, &too_many, PutOptions::default()).await;
    assert!(matches!(refused, Err(BlobError::TooManyBlocks)));
    let list = [id("2"), id("1"), id("2")];
    let blob = folder.put_block_list(&f, &list, PutOptions::default()).await.unwrap();
    assert_eq!(blob.bytes, 14);
    assert_eq!(content(&**folder, "d/f").await, b"zwei one zwei ");
    let again = folder.put_block_list(&f, &list, PutOptions::default()).await;
    assert!(matches!(again, Err(BlobError::UnknownBlock)), "the blocks are committed or discarded");
    let empty = folder.put_block_list(&name("d/e"), &[], PutOptions::default()).await.unwrap();
    assert_eq!(empty.bytes, 0);
    put_block(&**folder, "d/f", "1", b"later").await.unwrap();
    put(&**folder, "d/f", b"whole").await.unwrap();
    let refused = folder.put_block_list(&f, &[id("1")], PutOptions::default()).await;
    assert!(matches!(refused, Err(BlobError::UnknownBlock)), "a whole blob discards them too");
}

pub async fn interrupted_and_corrupt_uploads_change_nothing(open: impl OpenFolder) {
    let folder = open(limits(10, 100)).await;
    let f = name("d/f");
    put(&**folder, "d/f", b"old").await.unwrap();
    let wrong_md5 = PutOptions { md5: Some([0; 16]), ..PutOptions::default() };
    let put_new = folder.put(&f, wrong_md5, &mut Chunks::complete(&[b"new"])).await;
    assert!(matches!(put_new, Err(BlobError::Md5Mismatch)));
    let put_new = folder.put(&f, PutOptions::default(), &mut Chunks::aborted(&[b"new"])).await;
    assert!(matches!(put_new, Err(BlobError::IncompleteBody(_))));
    let put_new = folder.put(&f, PutOptions::default(), &mut Chunks::complete(&[b"123456", b"78901"])).await;
    assert!(matches!(put_new, Err(BlobError::TooLarge(10))));
    let block = folder.put_block(&f, &id("1"), Some([0; 16]), &mut Chunks::complete(&[b"new"])).await;
    assert!(matches!(block, Err(BlobError::Md5Mismatch)));
    let refused = folder.put_block_list(&f, &[id("1")], PutOptions::default()).await;
    assert!(matches!(refused, Err(BlobError::UnknownBlock)));
    assert_eq!(content(&**folder, "d/f").await, b"old");
    for other in 0..9 {
        put(&**folder, &format!("d/{other}"), b"1234567890").await.unwrap();
    }
    assert!(matches!(put(&**folder, "d/9", b"12345678").await, Err(BlobError::Full)));
    put(&**folder, "d/9", b"1234567").await.unwrap();
}

pub async fn a_condition_is_checked_when_the_blob_is_written(open: impl OpenFolder) {
    let folder = open(limits(100, 100)).await;
    let f = name("d/f");
    let create = || PutOptions {
        condition: Condition { create_only: true, ..Condition::default() },
        ..PutOptions::default()
    };
    let first = folder.put(&f, create(), &mut Chunks::complete(&[b"a"])).await.unwrap();
    let refused = folder.put(&f, create(), &mut Chunks::complete(&[b"b"])).await;
    assert!(matches!(refused, Err(BlobError::Condition(ConditionFailed::OverwriteForbidden))));
    let same = Condition { if_match: Some(EtagMatch::OneOf(vec![first.etag])), ..Condition::default() };
    let if_same = || PutOptions { condition: same.clone(), ..PutOptions::default() };
    put_block(&**folder, "d/f", "1", b"c").await.unwrap();
    folder.put_block_list(&f, &[id("1")], if_same()).await.unwrap();
    let refused = folder.put(&f, if_same(), &mut Chunks::complete(&[b"d"])).await;
    assert!(matches!(refused, Err(BlobError::Condition(ConditionFailed::NotMet))));
    put_block(&**folder, "d/f", "1", b"e").await.unwrap();
    let refused = folder.put_block_list(&f, &[id("1")], if_same()).await;
    assert!(matches!(refused, Err(BlobError::Condition(ConditionFailed::NotMet))));
    let refused = folder.delete(&f, &same).await;
    assert!(matches!(refused, Err(BlobError::Condition(ConditionFailed::NotMet))));
    assert_eq!(content(&**folder, "d/f").await, b"c");

    // The other upload began first, and ends last.
    let mut slow = Interleaved { folder: &**folder, chunks: Chunks::complete(&[b"slow"]) };
    let refused = folder.put(&name("d/g"), create(), &mut slow).await;
    assert!(matches!(refused, Err(BlobError::Condition(ConditionFailed::OverwriteForbidden))));
    assert_eq!(content(&**folder, "d/g").await, b"fast");
}

/// A stream during which another client writes the blob `d/g`.
struct Interleaved<'a> {
    folder: &'a dyn BlobFolder,
    chunks: Chunks,
}

#[async_trait]
impl ByteStream for Interleaved<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let chunk = self.chunks.next().await?;
        if chunk.is_none() {
            put(self.folder, "d/g", b"fast").await?;
        }
        Ok(chunk)
    }
}

pub async fn the_folder_never_exceeds_its_limits(open: impl OpenFolder) {
    let folder = open(limits(8, 10)).await;
    let folder = &**folder;
    put(folder, "d/1", b"12345678").await.unwrap();
    assert!(matches!(put(folder, "d/2", b"123").await, Err(BlobError::Full)));
    put_block(folder, "d/3", "1", b"12").await.unwrap();
    assert!(matches!(folder.check_quota(&name("d/new")), Err(BlobError::Full)));
    assert!(matches!(put(folder, "d/4", b"1").await, Err(BlobError::Full)));
    folder.discard_blocks(&name("d/3")).await.unwrap();
    put(folder, "d/4", b"12").await.unwrap();
    folder.delete(&name("d/1"), &Condition::default()).await.unwrap();
    put(folder, "d/4", b"12345678").await.unwrap();

    // The blocks of one blob together have the limit of one blob.
    let folder = open(limits(8, 100)).await;
    let folder = &**folder;
    put_block(folder, "d/5", "1", b"123456").await.unwrap();
    assert!(matches!(put_block(folder, "d/5", "2", b"123").await, Err(BlobError::TooLarge(8))));
    put_block(folder, "d/5", "1", b"654321").await.unwrap();
    put_block(folder, "d/5", "2", b"78").await.unwrap();
    let twice = [id("1"), id("1")];
    let refused = folder.put_block_list(&name("d/5"), &twice, PutOptions::default()).await;
    assert!(matches!(refused, Err(BlobError::TooLarge(8))));
}

pub async fn a_block_list_needs_room_for_its_blob_beside_its_blocks(open: impl OpenFolder) {
    let folder = open(limits(8, 10)).await;
    let f = name("d/f");
    put_block(&**folder, "d/f", "1", b"123456").await.unwrap();
    let refused = folder.put_block_list(&f, &[id("1")], PutOptions::default()).await;
    assert!(matches!(refused, Err(BlobError::Full)));
    let replaced = put_block(&**folder, "d/f", "1", b"12345").await;
    assert!(matches!(replaced, Err(BlobError::Full)), "the old block counts until it is replaced");
    folder.discard_blocks(&f).await.unwrap();
    put_block(&**folder, "d/f", "1", b"12345").await.unwrap();
    folder.put_block_list(&f, &[id("1")], PutOptions::default()).await.unwrap();
    put(&**folder, "d/g", b"12345").await.unwrap();
    assert!(folder.check_quota(&name("d/h")).is_err());
}

pub async fn a_device_has_a_limit_of_its_own(open: impl OpenFolder) {
    let folder = open(FolderLimits { blob_bytes: 8, total_bytes: 100, device_bytes: 10 }).await;
    let folder = &**folder;
    put(folder, "d/1", b"12345").await.unwrap();
    put_block(folder, "d/2", "1", b"1234").await.unwrap();
    assert!(matches!(put(folder, "d/3", b"12").await, Err(BlobError::DeviceFull(10))));
    assert!(matches!(put_block(folder, "d/2", "2", b"12").await, Err(BlobError::DeviceFull(10))));
    folder.check_quota(&name("d/3")).unwrap();
    put(folder, "e/1", b"12345").await.unwrap();
    put(folder, "d/3", b"1").await.unwrap();
    assert!(matches!(folder.check_quota(&name("d/4")), Err(BlobError::DeviceFull(10))));
    folder.check_quota(&name("e/2")).unwrap();
    folder.discard_blocks(&name("d/2")).await.unwrap();
    put(folder, "d/4", b"1234").await.unwrap();
    assert!(folder.check_quota(&name("d/5")).is_err());
    folder.delete(&name("d/1"), &Condition::default()).await.unwrap();
    put(folder, "d/5", b"12345").await.unwrap();
    assert!(folder.check_quota(&name("d/6")).is_err());
}

pub async fn a_block_that_is_put_concurrently_counts_once(open: impl OpenFolder) {
    let folder = open(limits(10, 100)).await;
    let f = name("d/f");
    let puts: Vec<_> = (0..9)
        .map(|_| {
            let folder = folder.clone();
            tokio::spawn(async move { put_block(&*folder, "d/f", "1", b"1234567").await })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    // Three bytes are left in the blob's limit. In the folder's limit, only the uncommitted block is used.
    put_block(&**folder, "d/f", "2", b"890").await.unwrap();
    assert!(matches!(put_block(&**folder, "d/f", "3", b"x").await, Err(BlobError::TooLarge(10))));
    for other in 0..9 {
        put(&**folder, &format!("d/{other}"), b"1234567890").await.unwrap();
    }
    assert!(folder.check_quota(&name("d/new")).is_err());
    folder.discard_blocks(&f).await.unwrap();
    put(&**folder, "d/f", b"1234567890").await.unwrap();
}

pub async fn blobs_are_listed_in_the_order_of_their_names(open: impl OpenFolder) {
    let folder = open(limits(10, 100)).await;
    for blob in ["d/b", "d/a", "d-2/c", "d/é", "e/d", "D/f"] {
        put(&**folder, blob, b"x").await.unwrap();
    }
    let list = async |device, after, top| -> Vec<String> {
        let found = folder.list(device, after, top).await.unwrap();
        found.iter().map(|blob| blob.name.to_string()).collect()
    };
    assert_eq!(list(None, None, 10).await, ["D/f", "d-2/c", "d/a", "d/b", "d/é", "e/d"]);
    assert_eq!(list(Some("d"), None, 2).await, ["d/a", "d/b"]);
    assert_eq!(list(Some("d"), Some("d/b"), 10).await, ["d/é"]);
    assert_eq!(list(None, Some("d/c"), 10).await, ["d/é", "e/d"]);
    assert_eq!(list(Some("f"), None, 10).await, [""; 0]);
    assert_eq!(list(None, None, 0).await, [""; 0]);
}

pub async fn stale_blocks_are_removed(open: impl OpenFolder) {
    let folder = open(limits(8, 10)).await;
    put_block(&**folder, "d/f", "1", b"12345678").await.unwrap();
    // An adapter may take the time from the files, which have that of the system.
    folder.discard_stale_blocks(Timestamp::from_unix_seconds(0)).await.unwrap();
    assert!(matches!(put(&**folder, "d/g", b"123").await, Err(BlobError::Full)));
    folder.discard_stale_blocks(Timestamp::from_unix_seconds(10_000_000_000)).await.unwrap();
    put(&**folder, "d/g", b"12345678").await.unwrap();
    let list = folder.put_block_list(&name("d/f"), &[id("1")], PutOptions::default()).await;
    assert!(matches!(list, Err(BlobError::UnknownBlock)));
}
