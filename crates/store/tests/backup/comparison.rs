//! What a restore revives, compared with the folder that it replaces.

use ferrohub_conformance::changes::{create, delete, update};
use ferrohub_conformance::samples::{batch, identity};
use ferrohub_core::policies::{PolicyStore as _, StoredPolicy};
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::store::Store as _;
use ferrohub_core::telemetry::EventLog as _;
use ferrohub_model::device::Status;
use ferrohub_model::{Rights, SharedAccessKey};
use ferrohub_store::backup::{BackupError, Comparison, Found, compare};
use tempfile::tempdir;

use crate::common::{open, open_events};
use crate::fixture::{PARTITIONS, back_up, data_folder, put_file, restore};

fn key(byte: u8) -> SharedAccessKey {
    SharedAccessKey::from_bytes(&[byte; 32]).unwrap()
}

fn policy(name: &str, byte: u8, rights: Rights) -> StoredPolicy {
    StoredPolicy { name: name.to_owned(), rights, primary_key: key(byte), secondary_key: key(2) }
}

fn device(id: &str, byte: u8) -> Identity {
    let authentication = Authentication::Sas { primary: key(byte), secondary: key(2) };
    Identity { status: Status::Enabled, authentication, ..identity(id) }
}

fn found(names: &[&str]) -> Found {
    Found { count: names.len() as u64, names: names.iter().map(|name| (*name).to_owned()).collect() }
}

#[tokio::test]
async fn keys_devices_policies_and_files_that_a_backup_revives_or_loses_are_named() {
    let folder = data_folder().await;
    let store = open(folder.path());
    for id in ["kept", "rekeyed", "rekeyed/mod", "deleted", "disabled", "recreated"] {
        create(&store, &device(id, 1), 100).await.unwrap();
    }
    for name in ["kept", "rekeyed", "narrowed", "deleted"] {
        store.save_policy(&policy(name, 1, Rights::ALL)).await.unwrap();
    }
    store.close().await;
    let archive = back_up(folder.path(), 100);

    let store = open(folder.path());
    let log = open_events(&store, PARTITIONS);
    update(&store, &device("rekeyed", 9), "one").await.unwrap();
    update(&store, &device("rekeyed/mod", 9), "one").await.unwrap();
    delete(&store, &device("deleted", 1).id, None).await.unwrap();
    update(&store, &Identity { status: Status::Disabled, ..device("disabled", 1) }, "one").await.unwrap();
    delete(&store, &device("recreated", 1).id, None).await.unwrap();
    create(&store, &Identity { generation_id: "18".to_owned(), ..device("recreated", 7) }, 100)
        .await
        .unwrap();
    create(&store, &device("new", 1), 100).await.unwrap();
    store.save_policy(&policy("rekeyed", 9, Rights::ALL)).await.unwrap();
    store.save_policy(&policy("narrowed", 1, Rights::of(&[]))).await.unwrap();
    let db = rusqlite::Connection::open(folder.path().join("hub.db")).unwrap();
    assert_eq!(db.execute("DELETE FROM policy WHERE name = 'deleted'", []).unwrap(), 1);
    drop(db);
    store.save_policy(&policy("new", 1, Rights::ALL)).await.unwrap();
    put_file(&store, "f.txt", 8, b"another content").await;
    put_file(&store, "new.txt", 9, b"content").await;
    log.append(batch(1, "dev", 2000, &[b"3", b"4"])).await.unwrap();

    let target = tempdir().unwrap();
    restore(&archive, target.path(), 200);
    // A hub still runs on the old folder.
    let comparison = compare(target.path(), folder.path()).unwrap();
    let expected = Comparison {
        deleted_identities: found(&["deleted"]),
        changed_credentials: found(&["rekeyed", "rekeyed/mod"]),
        disabled_identities: found(&["disabled"]),
        recreated_identities: found(&["recreated"]),
        deleted_policies: found(&["deleted"]),
        changed_policy_keys: found(&["rekeyed"]),
        changed_policy_rights: found(&["narrowed"]),
        deleted_files: found(&["dev/f.txt"]),
        lost_identities: found(&["new"]),
        lost_policies: found(&["new"]),
        lost_files: found(&["dev/f.txt", "dev/new.txt"]),
        lost_events: 2,
        ..Comparison::default()
    };
    assert_eq!(comparison, expected);
    let same = compare(target.path(), target.path()).unwrap();
    assert_eq!(same, Comparison::default());
}

#[tokio::test]
async fn another_hub_is_nothing_to_compare_with() {
    let (one, two) = (data_folder().await, data_folder().await);
    let target = tempdir().unwrap();
    restore(&back_up(one.path(), 100), target.path(), 200);
    let error = compare(target.path(), two.path()).unwrap_err();
    assert!(matches!(error, BackupError::OtherHub { .. }), "{error}");
    assert!(compare(target.path(), tempdir().unwrap().path()).is_err());
}
