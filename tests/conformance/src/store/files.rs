//! Uploads, file notifications, blobs and the keys that sign their URLs.

use ferrohub_core::files::{
    BeginUploadOutcome, Blob, BlobWriteOutcome, Condition, ConditionFailed, EndUploadOutcome, EtagMatch,
    QueuedNotification, StoredBlob, StoredSigningKey, Upload,
};
use ferrohub_core::store::Store;
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::{SharedAccessKey, Timestamp};

use super::OpenStore;
use crate::Fixture;
use crate::changes::{create, delete};
use crate::samples::{id, identity};

/// Opens a store with these devices.
async fn store_with(open: impl OpenStore, devices: &[&str]) -> Fixture<dyn Store> {
    let store = open().await;
    for device in devices {
        assert_eq!(create(&**store, &identity(device), 10).await, Ok(()));
    }
    store
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

fn upload(id: &str, blob: &str, expires: i64) -> Upload {
    Upload { correlation_id: id.to_owned(), blob: BlobName::parse(blob).unwrap(), expires: at(expires) }
}

fn notification(blob: &str, expires: i64) -> QueuedNotification {
    let notification = FileNotification {
        device_id: "d".to_owned(),
        blob_uri: format!("https://h/c/{blob}"),
        blob_name: blob.to_owned(),
        last_updated_time: at(1),
        blob_size_in_bytes: u64::from(u32::MAX) * 4,
        enqueued_time_utc: at(2),
    };
    QueuedNotification { notification, expires: at(expires), limit: 2 }
}

fn blob(name: &str, file: &str, etag: &str) -> StoredBlob {
    let blob = Blob {
        name: BlobName::parse(name).unwrap(),
        bytes: 7,
        etag: etag.to_owned(),
        modified: at(5),
        properties: [("content-type".to_owned(), "a \"b\"\n".to_owned())].into(),
    };
    StoredBlob { blob, file: file.to_owned() }
}

pub async fn a_device_has_a_limit_of_uploads_and_each_ends_once(open: impl OpenStore) {
    let store = store_with(open, &["d", "e"]).await;
    let store = &**store;
    let begin = async |id: &str, blob: &str, expires| {
        store.begin_upload(&upload(id, blob, expires), at(10), 2).await.unwrap()
    };
    assert_eq!(begin("1", "unknown/f", 20).await, BeginUploadOutcome::NotFound);
    assert_eq!(
        begin("1", "d/f", 10).await,
        BeginUploadOutcome::Begun,
        "it has already expired and does not count"
    );
    assert_eq!(begin("2", "d/f", 20).await, BeginUploadOutcome::Begun);
    assert_eq!(begin("3", "d/g", 30).await, BeginUploadOutcome::Begun);
    assert_eq!(begin("4", "d/h", 30).await, BeginUploadOutcome::Full);
    assert_eq!(
        begin("4", "e/h", 30).await,
        BeginUploadOutcome::Begun,
        "uploads of another device do not count"
    );
    assert_eq!(store.upload("2").await.unwrap(), Some(upload("2", "d/f", 20)));
    assert_eq!(store.upload("9").await.unwrap(), None);
    assert_eq!(store.end_upload("2", None).await.unwrap(), EndUploadOutcome::Ended);
    assert_eq!(
        store.end_upload("2", Some(&notification("d/f", 99))).await.unwrap(),
        EndUploadOutcome::NotFound
    );
    let queued = store.file_notifications(at(10), 0, 9).await.unwrap();
    assert_eq!(queued, [], "an upload that ended without a notification queues none");
    assert_eq!(begin("5", "d/f", 30).await, BeginUploadOutcome::Begun);

    let expired = store.expire_uploads(at(25), at(0), 10).await.unwrap();
    assert_eq!(expired, [upload("1", "d/f", 10)]);
    assert_eq!(store.expire_uploads(at(25), at(10), 10).await.unwrap(), []);
    assert_eq!(store.upload("1").await.unwrap(), None, "it is removed");
    delete(store, &id("d"), None).await.unwrap();
    assert_eq!(store.upload("5").await.unwrap(), None);
    assert!(store.upload("4").await.unwrap().is_some());
}

/// Stores a notification of an upload with this id.
async fn notify(store: &dyn Store, id: &str, notification: &QueuedNotification) {
    store.begin_upload(&upload(id, "d/f", 50), at(0), 10).await.unwrap();
    assert_eq!(store.end_upload(id, Some(notification)).await.unwrap(), EndUploadOutcome::Ended);
}

/// Returns the blobs and the deliveries of the first notifications.
async fn queued(store: &dyn Store, now: i64, after: u64, top: usize) -> Vec<(String, u32)> {
    let found = store.file_notifications(at(now), after, top).await.unwrap();
    found.into_iter().map(|stored| (stored.notification.blob_name, stored.deliveries)).collect()
}

fn blobs<const N: usize>(of: [(&str, u32); N]) -> Vec<(String, u32)> {
    of.into_iter().map(|(blob, deliveries)| (blob.to_owned(), deliveries)).collect()
}

pub async fn notifications_are_read_in_order_without_the_expired(open: impl OpenStore) {
    let store = store_with(open, &["d"]).await;
    let store = &**store;
    let first = notification("d/a", 100);
    notify(store, "1", &first).await;
    notify(store, "2", &notification("d/b", 200)).await;
    let found = store.file_notifications(at(99), 0, 9).await.unwrap();
    assert_eq!(found[0].notification, first.notification);
    let sequences: Vec<u64> = found.iter().map(|stored| stored.sequence).collect();
    assert!(sequences.is_sorted());
    assert_eq!(queued(store, 99, 0, 1).await, blobs([("d/a", 0)]));
    assert_eq!(queued(store, 99, sequences[0], 1).await, blobs([("d/b", 0)]));
    assert_eq!(queued(store, 99, sequences[1], 1).await, []);
    assert_eq!(queued(store, 100, 0, 9).await, blobs([("d/b", 0)]), "the first has expired");
    assert_eq!(store.expire_file_notifications(at(99)).await.unwrap(), 0);
    assert_eq!(store.expire_file_notifications(at(100)).await.unwrap(), 1);
    notify(store, "3", &notification("d/c", 200)).await;
    notify(store, "4", &notification("d/d", 200)).await;
    let newest = blobs([("d/c", 0), ("d/d", 0)]);
    assert_eq!(queued(store, 99, 0, 9).await, newest, "at most two are queued; the oldest is removed");
}

pub async fn notifications_are_counted_and_completed(open: impl OpenStore) {
    let store = store_with(open, &["d"]).await;
    let store = &**store;
    notify(store, "1", &notification("d/a", 100)).await;
    notify(store, "2", &notification("d/b", 100)).await;
    let found = store.file_notifications(at(1), 0, 9).await.unwrap();
    let [a, b] = [found[0].sequence, found[1].sequence];
    assert!(store.count_file_notification_delivery(a).await.unwrap());
    assert_eq!(queued(store, 1, 0, 9).await, blobs([("d/a", 1), ("d/b", 0)]));
    assert!(store.count_file_notification_delivery(a).await.unwrap());
    assert_eq!(queued(store, 1, 0, 9).await, blobs([("d/a", 2), ("d/b", 0)]));
    assert_eq!(store.complete_file_notifications(&[a, b + 1]).await.unwrap(), 1);
    assert!(!store.count_file_notification_delivery(a).await.unwrap());
    assert_eq!(store.complete_file_notifications(&[a, b]).await.unwrap(), 1);
    assert_eq!(queued(store, 1, 0, 9).await, []);
}

pub async fn blobs_are_written_replaced_listed_and_deleted(open: impl OpenStore) {
    let store = store_with(open, &[]).await;
    let store = &**store;
    let put = async |blob: &StoredBlob, condition: Condition| store.put_blob(blob, &condition).await.unwrap();
    let (first, second) = (blob("d/f", "1", "a"), blob("d/f", "2", "b"));
    assert_eq!(put(&first, Condition::default()).await, BlobWriteOutcome::Done(None));
    let new = Condition { if_none_match: Some(EtagMatch::Any), ..Condition::default() };
    assert_eq!(put(&second, new).await, BlobWriteOutcome::Refused(ConditionFailed::AlreadyExists));
    assert_eq!(store.blob(&first.blob.name).await.unwrap(), Some(first.clone()));
    let same = Condition { if_match: Some(EtagMatch::parse("\"a\"")), ..Condition::default() };
    assert_eq!(put(&second, same.clone()).await, BlobWriteOutcome::Done(Some(first)));
    for (name, file) in [("d/a", "3"), ("d0/x", "4"), ("d/b/c", "5"), ("a/z", "6"), ("D/f", "7")] {
        put(&blob(name, file, "c"), Condition::default()).await;
    }
    let names = async |device: Option<&str>, after: Option<&str>, top| {
        let found = store.blobs(device, after, top).await.unwrap();
        found.iter().map(|blob| blob.name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(Some("d"), None, 9).await, ["d/a", "d/b/c", "d/f"]);
    assert_eq!(names(Some("d"), Some("d/a"), 1).await, ["d/b/c"]);
    assert_eq!(names(None, None, 99).await, ["D/f", "a/z", "d/a", "d/b/c", "d/f", "d0/x"]);
    assert_eq!(names(None, Some("d/f"), 99).await, ["d0/x"]);
    assert_eq!(names(Some("unknown"), None, 99).await, [""; 0]);

    let name = &second.blob.name;
    let refused = store.delete_blob(name, &same).await.unwrap();
    assert_eq!(refused, BlobWriteOutcome::Refused(ConditionFailed::NotMet));
    let gone = store.delete_blob(name, &Condition::default()).await.unwrap();
    assert_eq!(gone, BlobWriteOutcome::Done(Some(second.clone())));
    assert_eq!(store.delete_blob(name, &Condition::default()).await.unwrap(), BlobWriteOutcome::Done(None));
    let all = store.blob_files(None, 100).await.unwrap();
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by(|(_, one), (_, next)| one.as_str() < next.as_str()));
    assert_eq!(store.blob_files(Some(&all[1].1), 2).await.unwrap(), all[2..4]);
}

pub async fn only_the_newest_signing_keys_are_kept(open: impl OpenStore) {
    let store = store_with(open, &[]).await;
    let store = &**store;
    let key = |second| StoredSigningKey { key: SharedAccessKey::generate(), created: at(second) };
    let keys = [key(3), key(2), key(1)];
    let mut newest = None;
    for key in keys.iter().rev() {
        assert!(store.save_signing_key(key, newest, 2).await.unwrap());
        newest = Some(key.created);
    }
    assert_eq!(store.signing_keys().await.unwrap(), keys[..2]);
}

pub async fn a_signing_key_is_added_only_after_the_newest_one_that_its_node_knows(open: impl OpenStore) {
    let store = store_with(open, &[]).await;
    let store = &**store;
    let key = |second| StoredSigningKey { key: SharedAccessKey::generate(), created: at(second) };
    let (first, second) = (key(1), key(2));
    assert!(!store.save_signing_key(&first, Some(at(7)), 2).await.unwrap());
    assert!(store.save_signing_key(&first, None, 2).await.unwrap());
    assert!(!store.save_signing_key(&key(9), None, 2).await.unwrap(), "another node was first");
    assert!(store.save_signing_key(&second, Some(at(1)), 2).await.unwrap());
    assert!(!store.save_signing_key(&key(9), Some(at(1)), 2).await.unwrap());
    assert_eq!(store.signing_keys().await.unwrap(), [second, first]);
}
