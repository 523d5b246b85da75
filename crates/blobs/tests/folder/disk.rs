//! The files in the folder: none is left behind, and all count after a restart.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_blobs::Folder;
use ferrohub_conformance::Chunks;
use ferrohub_core::files::{BlobError, BlobFolder, Condition, FolderLimits, PutOptions};
use ferrohub_core::store::Store;
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;

use super::fixture::DataFolder;

fn name(text: &str) -> BlobName {
    BlobName::parse(text).unwrap()
}

/// A block id as in a request.
fn id(text: &str) -> String {
    STANDARD.encode(text)
}

async fn content(folder: &Folder, blob: &str) -> Vec<u8> {
    let mut open = folder.open(&name(blob), None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = open.stream.next().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

async fn put(folder: &Folder, blob: &str, bytes: &'static [u8]) -> Result<(), BlobError> {
    folder.put(&name(blob), PutOptions::default(), &mut Chunks::complete(&[bytes])).await.map(drop)
}

async fn put_block(folder: &Folder, blob: &str, block: &str, bytes: &'static [u8]) -> Result<(), BlobError> {
    folder.put_block(&name(blob), &id(block), None, &mut Chunks::complete(&[bytes])).await.map(drop)
}

#[tokio::test]
async fn a_replaced_or_deleted_blob_leaves_no_file() {
    let data = DataFolder::new();
    let folder = data.open(100, 100).await;
    put(&folder, "d/f", b"old").await.unwrap();
    put(&folder, "d/f", b"new").await.unwrap();
    assert_eq!(data.files(), 1);
    folder.delete(&name("d/f"), &Condition::default()).await.unwrap();
    assert_eq!(data.files(), 0);
}

#[tokio::test]
async fn blocks_survive_a_restart_and_leave_no_file_when_they_are_committed() {
    let data = DataFolder::new();
    let folder = data.open(100, 100).await;
    for (block, bytes) in [("1", &b"one "[..]), ("2", b"two "), ("3", b"three ")] {
        put_block(&folder, "d/f", block, bytes).await.unwrap();
    }
    drop(folder);
    let folder = data.open(100, 100).await;
    let list = [id("2"), id("1"), id("2")];
    folder.put_block_list(&name("d/f"), &list, PutOptions::default()).await.unwrap();
    assert_eq!(content(&folder, "d/f").await, b"two one two ");
    assert_eq!(data.files(), 1, "blocks that are not in the list are removed");
}

#[tokio::test]
async fn interrupted_and_corrupt_uploads_leave_nothing_behind() {
    let data = DataFolder::new();
    let folder = data.open(10, 100).await;
    let f = name("d/f");
    put(&folder, "d/f", b"old").await.unwrap();
    let wrong_md5 = || PutOptions { md5: Some([0; 16]), ..PutOptions::default() };
    let put_new = folder.put(&f, wrong_md5(), &mut Chunks::complete(&[b"new"])).await;
    assert!(matches!(put_new, Err(BlobError::Md5Mismatch)));
    let put_new = folder.put(&f, PutOptions::default(), &mut Chunks::aborted(&[b"new"])).await;
    assert!(matches!(put_new, Err(BlobError::IncompleteBody(_))));
    let block = folder.put_block(&f, &id("1"), Some([0; 16]), &mut Chunks::complete(&[b"new"])).await;
    assert!(matches!(block, Err(BlobError::Md5Mismatch)));
    assert_eq!(data.files(), 1);

    // At once: the file was only just created.
    for _ in 0..100 {
        let put_new = put(&folder, "d/f", b"12345678901").await;
        assert!(matches!(put_new, Err(BlobError::TooLarge(10))));
        assert_eq!(data.files(), 1);
    }
    // At any moment: the client is gone.
    for polls in 0..100 {
        let mut stream = Chunks::complete(&[b"1", b"2"]);
        let put_new = folder.put(&f, wrong_md5(), &mut stream);
        let polled = async {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            put_new = put_new => assert!(matches!(put_new, Err(BlobError::Md5Mismatch))),
            () = polled => {}
        }
    }
    while data.files() > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    // After a crash: a partly written file, and a file without a catalogue entry.
    let path = data.files_path();
    std::fs::write(path.join("parts/half"), "ha").unwrap();
    std::fs::write(path.join("data").join("0".repeat(32)), "orphan").unwrap();
    drop(folder);
    let folder = data.open(10, 100).await;
    let set_aside = path.join("set-aside").join("0".repeat(32));
    assert_eq!(std::fs::read(set_aside).unwrap(), b"orphan", "a complete file is never deleted at a start");
    assert_eq!(data.files(), 2);
    assert_eq!(content(&folder, "d/f").await, b"old");
}

#[tokio::test]
async fn stale_blocks_are_removed_by_the_time_of_their_files() {
    let data = DataFolder::new();
    let folder = data.open(8, 10).await;
    put_block(&folder, "d/f", "1", b"12").await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "files have the time of the system")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_unix_seconds(i64::try_from(since.as_secs()).unwrap());
    folder.discard_stale_blocks(now.plus_millis(-60_000)).await.unwrap();
    assert_eq!(data.files(), 1);
    folder.discard_stale_blocks(now.plus_millis(60_000)).await.unwrap();
    assert_eq!(data.files(), 0);
}

#[tokio::test]
async fn a_put_fails_if_the_catalogue_fails() {
    let data = DataFolder::new();
    let folder = data.open(100, 100).await;
    data.store.close().await;
    assert!(matches!(put(&folder, "d/f", b"abc").await, Err(BlobError::Store(_))));
}

#[tokio::test]
async fn the_limits_of_the_folder_and_of_its_devices_are_exact_after_a_restart() {
    let data = DataFolder::new();
    let mut folder = data.open(8, 10).await;
    put(&folder, "d/1", b"12345678").await.unwrap();
    put_block(&folder, "d/3", "1", b"12").await.unwrap();
    for _ in 0..2 {
        assert!(folder.check_quota(&name("d/new")).is_err());
        drop(folder);
        folder = data.open(8, 10).await;
    }
    folder.discard_blocks(&name("d/3")).await.unwrap();
    put(&folder, "d/4", b"12").await.unwrap();

    let data = DataFolder::new();
    let open =
        async || data.open_with(FolderLimits { blob_bytes: 8, total_bytes: 100, device_bytes: 10 }).await;
    let mut folder = open().await;
    put(&folder, "d/1", b"12345").await.unwrap();
    put_block(&folder, "d/2", "1", b"1234").await.unwrap();
    for _ in 0..2 {
        assert!(matches!(put(&folder, "d/3", b"12").await, Err(BlobError::DeviceFull(10))));
        assert!(matches!(put_block(&folder, "d/2", "2", b"12").await, Err(BlobError::DeviceFull(10))));
        folder.check_quota(&name("d/3")).unwrap();
        put(&folder, "e/1", b"12345").await.unwrap();
        drop(folder);
        folder = open().await;
    }
    put(&folder, "d/3", b"1").await.unwrap();
    assert!(matches!(folder.check_quota(&name("d/4")), Err(BlobError::DeviceFull(10))));
}
