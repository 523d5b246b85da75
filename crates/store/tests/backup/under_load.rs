//! A backup while the hub writes: it contains what was acknowledged before it began, and its parts agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ferrohub_conformance::changes::create;
use ferrohub_conformance::samples::{batch, identity};
use ferrohub_core::files::BlobIndex as _;
use ferrohub_core::registry::RegistryStore as _;
use ferrohub_core::telemetry::EventLog as _;
use tempfile::tempdir;

use crate::common::{open, open_events};
use crate::fixture::{PARTITIONS, back_up, put_file, restore};

/// Number of names of files, each of which is replaced again and again.
const FILES: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_before_a_backup_began_is_in_it_and_files_agree_with_their_entries() {
    let folder = tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let log = Arc::new(open_events(&store, PARTITIONS));
    let stop = Arc::new(AtomicBool::new(false));
    let (devices, events) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for number in 0..FILES {
        put_file(&store, &format!("f{number}"), number, b"first").await;
    }
    let mut tasks = Vec::new();
    let (of_store, stopping, acknowledged) = (store.clone(), stop.clone(), devices.clone());
    tasks.push(tokio::spawn(async move {
        while !stopping.load(Ordering::SeqCst) {
            let number = acknowledged.load(Ordering::SeqCst);
            create(&*of_store, &identity(&format!("d{number}")), u64::MAX).await.unwrap();
            acknowledged.store(number + 1, Ordering::SeqCst);
        }
    }));
    let (of_log, stopping, acknowledged) = (log.clone(), stop.clone(), events.clone());
    tasks.push(tokio::spawn(async move {
        while !stopping.load(Ordering::SeqCst) {
            let next = of_log.append(batch(0, "dev", 1, &[&[b'x'; 2000][..]])).await.unwrap();
            acknowledged.store(next, Ordering::SeqCst);
        }
    }));
    let (of_store, stopping) = (store.clone(), stop.clone());
    tasks.push(tokio::spawn(async move {
        let mut number = FILES;
        while !stopping.load(Ordering::SeqCst) {
            put_file(&of_store, &format!("f{}", number % FILES), number, &number.to_le_bytes().repeat(50))
                .await;
            number += 1;
        }
    }));
    for backup in 0..5 {
        while events.load(Ordering::SeqCst) < (backup + 1) * 50 {
            tokio::task::yield_now().await;
        }
        let before = (devices.load(Ordering::SeqCst), events.load(Ordering::SeqCst));
        let path = folder.path().to_path_buf();
        let archive = tokio::task::spawn_blocking(move || back_up(&path, 100)).await.unwrap();
        let target = tempdir().unwrap();
        // It compares the files with the catalogue.
        let restored = restore(&archive, target.path(), 200);
        assert!(restored.devices >= before.0 && restored.events >= before.1, "{restored:?}: {before:?}");
        assert_eq!(restored.files, FILES, "a file that is replaced is in each backup");
        let copy = open(target.path());
        for number in 0..before.0 {
            assert!(copy.identity(&identity(&format!("d{number}")).id).await.unwrap().is_some(), "d{number}");
        }
        for blob in copy.blob_files(None, 1000).await.unwrap() {
            let content = std::fs::read(target.path().join("blobs/data").join(&blob.0)).unwrap();
            let number = u64::from_str_radix(&blob.0, 16).unwrap();
            let expected = if number < FILES { b"first".to_vec() } else { number.to_le_bytes().repeat(50) };
            assert_eq!(content, expected, "{}", blob.1);
        }
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
}
