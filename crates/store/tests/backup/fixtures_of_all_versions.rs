//! A folder of any released version can be backed up as it is, and restored by this version.

use std::fs;
use std::path::{Path, PathBuf};

use ferrohub_store::backup::{self, Target};
use rusqlite::{Connection, OpenFlags};
use tempfile::tempdir;

use crate::common::{open, open_events};
use crate::fixture::{SECRETS, back_up, restore, seconds};

fn fixture(kind: &str, version: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{kind}-{version:04}.db"))
}

fn newest(kind: &str) -> usize {
    (1..).take_while(|version| fixture(kind, *version).exists()).last().unwrap()
}

fn rows(file: &Path) -> Vec<(String, i64)> {
    let uri = format!("file:{}?immutable=1", file.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(uri, flags).unwrap();
    let mut tables = db
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        )
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |table: &String| {
        db.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0)).unwrap()
    };
    tables.iter().map(|table| (table.clone(), count(table))).collect()
}

#[tokio::test]
async fn leases_are_free_after_a_restore_and_unfinished_jobs_go_on_or_are_cancelled() {
    let folder = tempdir().unwrap();
    fs::copy(fixture("hub", newest("hub")), folder.path().join("hub.db")).unwrap();
    fs::copy(fixture("events", newest("events")), folder.path().join("events.db")).unwrap();
    fs::create_dir_all(folder.path().join("blobs/data")).unwrap();
    fs::write(folder.path().join("blobs/data/0123456789abcdef0123456789abcdef"), "bytes").unwrap();
    let archive = back_up(folder.path(), 1_800_000_000);
    for cancel_jobs in [false, true] {
        let target = tempdir().unwrap();
        let restore_to = Target {
            folder: target.path(),
            secrets: &SECRETS,
            now: seconds(1_800_000_001),
            cancel_jobs,
            bytes: None,
        };
        let restored = backup::restore(&archive[..], &restore_to, &mut |_| {}).unwrap();
        assert_eq!(restored.unfinished_jobs, ["reboot-1", "0b3ae4f0-0000-4000-8000-000000000002"]);
        let db = Connection::open(target.path().join("hub.db")).unwrap();
        let text = |query: &str| db.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
        let lease = "SELECT name || ' ' || holder || ' ' || fence || ' ' || expiry FROM lease";
        assert_eq!(text(lease), "file-maintenance  4 0", "the fence stays");
        let job = "SELECT phase || ' ' || holder || ' ' || fence || ' ' || lease_expiry FROM job";
        assert_eq!(text(job), if cancel_jobs { "5  5 0" } else { "2  5 0" });
        let import = "SELECT status FROM import_export_job ORDER BY sequence DESC";
        assert_eq!(text(import), if cancel_jobs { "cancelled" } else { "running" });
    }
}

#[tokio::test]
async fn every_earlier_folder_is_backed_up_and_restored_with_all_rows() {
    let events_versions = newest("events");
    for hub in 1..=newest("hub") {
        for events in
            if hub == newest("hub") { 1..=events_versions } else { events_versions..=events_versions }
        {
            let folder = tempdir().unwrap();
            fs::copy(fixture("hub", hub), folder.path().join("hub.db")).unwrap();
            fs::copy(fixture("events", events), folder.path().join("events.db")).unwrap();
            let data = folder.path().join("blobs/data");
            fs::create_dir_all(&data).unwrap();
            if hub >= 4 {
                fs::write(data.join("0123456789abcdef0123456789abcdef"), "bytes").unwrap();
            }
            // The ids of the fixtures of both databases are equal from the version on that has one.
            let archive = back_up(folder.path(), 1_800_000_000);
            let target = tempdir().unwrap();
            restore(&archive, target.path(), 1_800_000_001);
            for (kind, version) in [("hub", hub), ("events", events)] {
                let restored = rows(&target.path().join(format!("{kind}.db")));
                for (table, count) in rows(&fixture(kind, version)) {
                    let found = restored.iter().find(|(name, _)| *name == table).map(|(_, count)| *count);
                    // A restore adds a row for each partition.
                    let expected = if table == "lost_events" { count + 2 } else { count };
                    assert_eq!(found, Some(expected), "{kind} {version}: {table}");
                }
            }
            let store = open(target.path());
            open_events(&store, 2);
            store.claim_blobs_folder().unwrap();
        }
    }
}
