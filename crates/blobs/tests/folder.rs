//! Tests of the blob store in the hub's own folder.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferrohub_blobs::{Folder, FolderLimits};
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{
    BlobEndpoint, BlobError, BlobFolder, BlobStore, ByteRange, ByteStream, Condition, OpenBlob, PutOptions,
};
use ferrohub_core::metrics::Outcomes;
use ferrohub_core::store::Store;
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;
use ferrohub_store::{SqliteStore, StoreMetrics};

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }
}

/// Chunks, and then the end of the stream (`true`) or an error (`false`).
struct TestStream(std::vec::IntoIter<&'static [u8]>, bool);

#[async_trait]
impl ByteStream for TestStream {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        match self.0.next() {
            Some(chunk) => Ok(Some(Bytes::from_static(chunk))),
            None if self.1 => Ok(None),
            None => Err(BlobError::IncompleteBody("interrupted by the test")),
        }
    }
}

fn complete_stream(chunks: &[&'static [u8]]) -> TestStream {
    TestStream(Vec::from(chunks).into_iter(), true)
}

fn aborted_stream(chunks: &[&'static [u8]]) -> TestStream {
    TestStream(Vec::from(chunks).into_iter(), false)
}

struct Fixture {
    data: tempfile::TempDir,
    store: Arc<SqliteStore>,
}

impl Fixture {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(data.path(), StoreMetrics::default()).unwrap());
        Self { data, store }
    }

    async fn open(&self, blob_bytes: u64, total_bytes: u64) -> Folder {
        self.open_with(FolderLimits { blob_bytes, total_bytes, device_bytes: total_bytes }).await
    }

    async fn open_with(&self, limits: FolderLimits) -> Folder {
        let endpoint = BlobEndpoint {
            host: "h".to_owned(),
            account: "h".to_owned(),
            container: "c".to_owned(),
            https: true,
        };
        Folder::open(
            &self.folder(),
            endpoint,
            limits,
            self.store.clone(),
            Arc::new(FixedClock),
            Outcomes::default(),
        )
        .await
        .unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join("blobs")
    }

    /// The number of files in the folder and its subfolders.
    fn files(&self) -> usize {
        fn count(path: &Path) -> usize {
            if path.is_file() {
                return 1;
            }
            std::fs::read_dir(path).unwrap().map(|entry| count(&entry.unwrap().path())).sum()
        }
        count(&self.folder())
    }
}

fn name(text: &str) -> BlobName {
    BlobName::parse(text).unwrap()
}

async fn read_all(mut open: OpenBlob) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = open.stream.next().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len() as u64, open.length);
    bytes
}

fn id(text: &str) -> String {
    STANDARD.encode(text)
}

#[tokio::test]
async fn a_blob_is_written_read_replaced_and_deleted() {
    let fixture = Fixture::new();
    let folder = fixture.open(100, 100).await;
    let f = name("d/f");
    let first =
        folder.put(&f, PutOptions::default(), &mut complete_stream(&[b"abc", b"", b"def"])).await.unwrap();
    assert_eq!((first.bytes, folder.stat(&f).await.unwrap()), (6, Some(first.clone())));
    assert_eq!(first.properties["content-md5"], "6AtQFwmJUPxYqtg8jBSXjg==");
    assert_eq!(read_all(folder.open(&f, None).await.unwrap()).await, b"abcdef");
    let range = ByteRange { from: 2, to: Some(3) };
    assert_eq!(read_all(folder.open(&f, Some(range)).await.unwrap()).await, b"cd");
    let after_the_end = ByteRange { from: 6, to: None };
    assert_eq!(folder.open(&f, Some(after_the_end)).await.unwrap().length, 0);

    // An open reader continues to read the old blob.
    let old = folder.open(&f, None).await.unwrap();
    let second = folder.put(&f, PutOptions::default(), &mut complete_stream(&[b"x"])).await.unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(read_all(old).await, b"abcdef");
    assert_eq!(read_all(folder.open(&f, None).await.unwrap()).await, b"x");
    assert_eq!(fixture.files(), 1, "the file of the old blob is removed");
    folder.delete(&f, &Condition::default()).await.unwrap();
    assert!(matches!(folder.delete(&f, &Condition::default()).await, Err(BlobError::NotFound)));
    assert!(matches!(folder.open(&f, None).await, Err(BlobError::NotFound)));
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn blocks_become_a_blob_in_the_order_of_the_list() {
    let fixture = Fixture::new();
    let folder = fixture.open(100, 100).await;
    let f = name("d/f");
    for (block, bytes) in [("1", &b"one "[..]), ("2", b"two "), ("3", b"three "), ("2", b"zwei ")] {
        folder.put_block(&f, &id(block), None, &mut complete_stream(&[bytes])).await.unwrap();
    }
    assert_eq!(folder.stat(&f).await.unwrap(), None, "uncommitted blocks are not a blob");
    for (bad, error) in [(id("22"), "length"), ("?".to_owned(), "base64"), (String::new(), "empty")] {
        let refused = folder.put_block(&f, &bad, None, &mut complete_stream(&[b"x"])).await;
        assert!(matches!(refused, Err(BlobError::InvalidBlockId)), "{error}");
    }
    let unknown = folder.put_block_list(&f, &[id("1"), id("9")], PutOptions::default()).await;
    assert!(matches!(unknown, Err(BlobError::UnknownBlock)));
    // The hub may restart between the blocks and the list.
    drop(folder);
    let folder = fixture.open(100, 100).await;
    let list = [id("2"), id("1"), id("2")];
    let blob = folder.put_block_list(&f, &list, PutOptions::default()).await.unwrap();
    assert_eq!(blob.bytes, 14);
    assert_eq!(read_all(folder.open(&f, None).await.unwrap()).await, b"zwei one zwei ");
    assert_eq!(fixture.files(), 1, "blocks that are not in the list are removed");
    let again = folder.put_block_list(&f, &list, PutOptions::default()).await;
    assert!(matches!(again, Err(BlobError::UnknownBlock)));
    let empty = folder.put_block_list(&name("d/e"), &[], PutOptions::default()).await.unwrap();
    assert_eq!(empty.bytes, 0);
}

#[tokio::test]
async fn interrupted_and_corrupt_uploads_leave_nothing_behind() {
    let fixture = Fixture::new();
    let folder = fixture.open(10, 100).await;
    let f = name("d/f");
    folder.put(&f, PutOptions::default(), &mut complete_stream(&[b"old"])).await.unwrap();
    let wrong_md5 = PutOptions { md5: Some([0; 16]), ..PutOptions::default() };
    let put = folder.put(&f, wrong_md5, &mut complete_stream(&[b"new"])).await;
    assert!(matches!(put, Err(BlobError::Md5Mismatch)));
    let put = folder.put(&f, PutOptions::default(), &mut aborted_stream(&[b"new"])).await;
    assert!(matches!(put, Err(BlobError::IncompleteBody(_))));
    let put = folder.put(&f, PutOptions::default(), &mut complete_stream(&[b"123456", b"78901"])).await;
    assert!(matches!(put, Err(BlobError::TooLarge(10))));
    let block = folder.put_block(&f, &id("1"), Some([0; 16]), &mut complete_stream(&[b"new"])).await;
    assert!(matches!(block, Err(BlobError::Md5Mismatch)));
    assert_eq!(read_all(folder.open(&f, None).await.unwrap()).await, b"old");
    assert_eq!(fixture.files(), 1);

    // At once: the file was only just created.
    for _ in 0..100 {
        let put = folder.put(&f, PutOptions::default(), &mut complete_stream(&[b"12345678901"])).await;
        assert!(matches!(put, Err(BlobError::TooLarge(10))));
        assert_eq!(fixture.files(), 1);
    }
    // At any moment: the client is gone.
    for polls in 0..100 {
        let mut stream = complete_stream(&[b"1", b"2"]);
        let put = folder.put(&f, PutOptions { md5: Some([0; 16]), ..PutOptions::default() }, &mut stream);
        let polled = async {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            put = put => assert!(matches!(put, Err(BlobError::Md5Mismatch))),
            () = polled => {}
        }
    }
    while fixture.files() > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    // After a crash: a partly written file, and a file without a catalogue entry.
    std::fs::write(fixture.folder().join("parts/half"), "ha").unwrap();
    std::fs::write(fixture.folder().join("data").join("0".repeat(32)), "orphan").unwrap();
    drop(folder);
    let folder = fixture.open(10, 100).await;
    let set_aside = fixture.folder().join("set-aside").join("0".repeat(32));
    assert_eq!(std::fs::read(set_aside).unwrap(), b"orphan", "a complete file is never deleted at a start");
    assert_eq!(fixture.files(), 2);
    assert_eq!(read_all(folder.open(&f, None).await.unwrap()).await, b"old");
}

#[tokio::test]
async fn the_folder_never_exceeds_its_limits() {
    let fixture = Fixture::new();
    let folder = fixture.open(8, 10).await;
    let put = async |folder: &Folder, blob: &str, bytes: &'static [u8]| {
        folder
            .put(&name(blob), PutOptions::default(), &mut complete_stream(&[bytes]))
            .await
            .map(|blob| blob.bytes)
    };
    assert_eq!(put(&folder, "d/1", b"12345678").await.unwrap(), 8);
    assert!(matches!(put(&folder, "d/2", b"123").await, Err(BlobError::Full)));
    folder.put_block(&name("d/3"), &id("1"), None, &mut complete_stream(&[b"12"])).await.unwrap();
    assert!(folder.check_quota(&name("d/new")).is_err());
    assert!(matches!(put(&folder, "d/4", b"1").await, Err(BlobError::Full)));
    drop(folder);
    let folder = fixture.open(8, 10).await;
    assert!(folder.check_quota(&name("d/new")).is_err(), "stored files also count after a restart");
    folder.discard_blocks(&name("d/3")).await.unwrap();
    assert_eq!(put(&folder, "d/4", b"12").await.unwrap(), 2);
    folder.delete(&name("d/1"), &Condition::default()).await.unwrap();
    assert_eq!(put(&folder, "d/4", b"12345678").await.unwrap(), 8);
    // The blocks of one blob together have the limit of one blob.
    drop(folder);
    let folder = fixture.open(8, 100).await;
    folder.delete(&name("d/4"), &Condition::default()).await.unwrap();
    folder.put_block(&name("d/5"), &id("1"), None, &mut complete_stream(&[b"123456"])).await.unwrap();
    let more = folder.put_block(&name("d/5"), &id("2"), None, &mut complete_stream(&[b"123"])).await;
    assert!(matches!(more, Err(BlobError::TooLarge(8))));
    let again = folder.put_block(&name("d/5"), &id("1"), None, &mut complete_stream(&[b"654321"])).await;
    assert!(again.is_ok(), "a block that is sent again replaces the first one");
}

#[tokio::test]
async fn stale_blocks_are_removed() {
    let fixture = Fixture::new();
    let folder = fixture.open(8, 10).await;
    folder.put_block(&name("d/f"), &id("1"), None, &mut complete_stream(&[b"12"])).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "files have the time of the system")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_unix_seconds(i64::try_from(since.as_secs()).unwrap());
    folder.discard_stale_blocks(now.plus_millis(-60_000)).await.unwrap();
    assert_eq!(fixture.files(), 1);
    folder.discard_stale_blocks(now.plus_millis(60_000)).await.unwrap();
    assert_eq!(fixture.files(), 0);
    let list = folder.put_block_list(&name("d/f"), &[id("1")], PutOptions::default()).await;
    assert!(matches!(list, Err(BlobError::UnknownBlock)));
}

#[tokio::test]
async fn a_put_fails_if_the_catalogue_fails() {
    let fixture = Fixture::new();
    let folder = fixture.open(100, 100).await;
    fixture.store.close().await;
    let put = folder.put(&name("d/f"), PutOptions::default(), &mut complete_stream(&[b"abc"])).await;
    assert!(matches!(put, Err(BlobError::Store(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_put_concurrently_counts_once() {
    let fixture = Fixture::new();
    let folder = Arc::new(fixture.open(10, 100).await);
    let f = name("d/f");
    let puts: Vec<_> = (0..9)
        .map(|_| {
            let (folder, f) = (folder.clone(), f.clone());
            tokio::spawn(async move {
                folder.put_block(&f, &id("1"), None, &mut complete_stream(&[b"1234567"])).await
            })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    // Three bytes are left in the blob's limit. In the folder's limit, only the uncommitted block is used.
    folder.put_block(&f, &id("2"), None, &mut complete_stream(&[b"890"])).await.unwrap();
    let more = folder.put_block(&f, &id("3"), None, &mut complete_stream(&[b"x"])).await;
    assert!(matches!(more, Err(BlobError::TooLarge(10))));
    for other in 0..9 {
        let other = name(&format!("d/{other}"));
        folder.put(&other, PutOptions::default(), &mut complete_stream(&[b"1234567890"])).await.unwrap();
    }
    assert!(folder.check_quota(&name("d/new")).is_err());
    folder.discard_blocks(&f).await.unwrap();
    folder.put(&f, PutOptions::default(), &mut complete_stream(&[b"1234567890"])).await.unwrap();
}

#[tokio::test]
async fn the_files_of_a_device_have_a_quota_which_is_exact_after_restarts_and_deletions() {
    let fixture = Fixture::new();
    let open =
        async || fixture.open_with(FolderLimits { blob_bytes: 8, total_bytes: 100, device_bytes: 10 }).await;
    let folder = open().await;
    let put = async |folder: &Folder, blob: &str, bytes: &'static [u8]| {
        folder.put(&name(blob), PutOptions::default(), &mut complete_stream(&[bytes])).await.map(drop)
    };
    put(&folder, "d/1", b"12345").await.unwrap();
    folder.put_block(&name("d/2"), &id("1"), None, &mut complete_stream(&[b"1234"])).await.unwrap();
    let mut folder = folder;
    for _ in 0..2 {
        assert!(matches!(put(&folder, "d/3", b"12").await, Err(BlobError::DeviceFull(10))));
        let block = folder.put_block(&name("d/2"), &id("2"), None, &mut complete_stream(&[b"12"])).await;
        assert!(matches!(block, Err(BlobError::DeviceFull(10))));
        folder.check_quota(&name("d/3")).unwrap();
        put(&folder, "e/1", b"12345").await.unwrap();
        drop(folder);
        folder = open().await;
    }
    put(&folder, "d/3", b"1").await.unwrap();
    assert!(matches!(folder.check_quota(&name("d/4")), Err(BlobError::DeviceFull(10))));
    folder.discard_blocks(&name("d/2")).await.unwrap();
    put(&folder, "d/4", b"1234").await.unwrap();
    assert!(folder.check_quota(&name("d/5")).is_err());
    folder.delete(&name("d/1"), &Condition::default()).await.unwrap();
    put(&folder, "d/5", b"12345").await.unwrap();
    assert!(folder.check_quota(&name("d/6")).is_err());
}
