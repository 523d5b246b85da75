//! A restore begins a new generation of the event log: positions among events that are lost can be recognised.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ferrohub_conformance::samples::{batch, identity};
use ferrohub_core::registry::RegistryStore as _;
use ferrohub_core::store::Store as _;
use ferrohub_core::telemetry::{EventLog, LostEvents};
use ferrohub_store::SqliteEventLog;
use tempfile::tempdir;

use crate::common::{open, open_events};
use crate::fixture::{PARTITIONS, back_up, data_folder, names, restore, seconds};

fn head(log: &SqliteEventLog, partition: u16) -> u64 {
    *log.head(partition).unwrap().borrow()
}

fn is_lost(log: &SqliteEventLog, next: u64) -> bool {
    log.lost_events().iter().any(|lost| lost.partition == 1 && lost.contain(next))
}

async fn append(log: &SqliteEventLog, count: usize) -> u64 {
    log.append(batch(1, "dev", 2000, &vec![&b"x"[..]; count])).await.unwrap()
}

#[tokio::test]
async fn a_restored_folder_has_everything_and_only_its_owner_may_read_it() {
    let folder = data_folder().await;
    let archive = back_up(folder.path(), 100);
    let target = tempdir().unwrap();
    let restored = restore(&archive, target.path(), 200);
    assert_eq!((restored.devices, restored.files, restored.events, restored.messages), (1, 1, 3, 0));
    assert_eq!(restored.header.created, seconds(100));
    assert_eq!(names(target.path()), ["blobs", "events.db", "hub.db", "tls"]);
    for (file, content) in [
        ("tls/ca.key", &b"tls/ca.key"[..]),
        ("tls/ca.pem", b"tls/ca.pem"),
        ("blobs/data/00000000000000000000000000000007", b"content"),
    ] {
        assert_eq!(fs::read(target.path().join(file)).unwrap(), content, "{file}");
    }
    for (name, mode) in [
        ("hub.db", 0o600),
        ("events.db", 0o600),
        ("tls", 0o700),
        ("tls/ca.key", 0o600),
        ("blobs", 0o700),
        ("blobs/data", 0o700),
        ("blobs/data/00000000000000000000000000000007", 0o600),
    ] {
        let found = fs::metadata(target.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let store = open(target.path());
    store.claim_blobs_folder().unwrap();
    assert_eq!(store.identity(&identity("dev").id).await.unwrap().unwrap(), identity("dev"));
    let log = open_events(&store, PARTITIONS);
    let events = log.read(1, 0, 10, usize::MAX).await.unwrap();
    assert_eq!(events.iter().map(|event| &event.body[..]).collect::<Vec<_>>(), [b"0", b"1", b"2"]);
}

#[tokio::test]
async fn positions_among_lost_events_are_recognised_and_events_are_numbered_after_them() {
    let folder = data_folder().await;
    let archive = back_up(folder.path(), 100);
    let target = tempdir().unwrap();
    restore(&archive, target.path(), 200);
    let store = open(target.path());
    let log = open_events(&store, PARTITIONS);
    // 200 seconds, 1000 milliseconds, 1024 numbers.
    let first = 200 * 1000 * 1024;
    let expected = |partition, start| LostEvents {
        partition,
        sequences: start..first,
        backup: seconds(100),
        restored: seconds(200),
    };
    assert_eq!(log.lost_events(), [expected(0, 0), expected(1, 3), expected(2, 0), expected(3, 0)]);
    assert!(!is_lost(&log, 3) && is_lost(&log, 4) && is_lost(&log, first - 1) && !is_lost(&log, first));
    let state = log.state().await.unwrap()[1];
    assert_eq!((state.begin, state.last, state.next, head(&log, 1)), (0, Some(2), first, first));
    assert_eq!(log.state().await.unwrap()[0].last, None, "there has never been an event");
    assert_eq!(append(&log, 2).await, first + 2);
    let read = log.read(1, 2, 10, usize::MAX).await.unwrap();
    assert_eq!(read.iter().map(|event| event.sequence).collect::<Vec<_>>(), [2, first, first + 1]);
    assert_eq!(log.state().await.unwrap()[1].last, Some(first + 1));
    for (time, sequence) in [(0, 0), (1001, 3), (2000, 3), (2001, first + 2)] {
        let found = log.first_since(1, ferrohub_model::Timestamp::from_unix_millis(time)).await.unwrap();
        assert_eq!(found, sequence, "{time}");
    }
}

#[tokio::test]
async fn a_backup_that_is_restored_twice_and_a_backup_of_a_restored_hub_have_generations_of_their_own() {
    let folder = data_folder().await;
    let archive = back_up(folder.path(), 100);
    let (one, two, three) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    restore(&archive, one.path(), 200);
    let store = open(one.path());
    let log = open_events(&store, PARTITIONS);
    let end_of_one = append(&log, 5).await;
    store.close().await;
    log.close().await;

    restore(&archive, two.path(), 201);
    let store = open(two.path());
    let log = open_events(&store, PARTITIONS);
    assert!(is_lost(&log, end_of_one) && is_lost(&log, end_of_one - 4), "positions of the first restore");
    drop((store, log));

    let again = back_up(one.path(), 300);
    // The clock was set back.
    restore(&again, three.path(), 10);
    let store = open(three.path());
    let log = open_events(&store, PARTITIONS);
    assert!(head(&log, 1) > end_of_one);
    assert!(!is_lost(&log, end_of_one - 1), "the second backup has this event");
    assert!(is_lost(&log, 4), "those of the first restore are still lost");
    assert_eq!(log.state().await.unwrap()[1].last, Some(end_of_one - 1));
    assert_eq!(log.state().await.unwrap()[0].last, None, "no event in either generation");
}
