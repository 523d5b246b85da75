//! The migration that gives the times in stored twins one width.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use common::open;
use ferrohub_conformance::samples::id;
use ferrohub_core::store::Store as _;
use ferrohub_core::twins::TwinStore as _;
use rusqlite::Connection;
use serde_json::{Value, json};

const METADATA: &str = r#"{"$lastUpdated":"2026-01-02T03:04:05.12Z","$lastUpdatedVersion":4,
    "a":{"$lastUpdated":"2026-01-02T03:04:05Z","b":{"$lastUpdated":"0001-01-01T00:00:00Z"}},
    "say \"Z\"":{"$lastUpdated":"2026-01-02T03:04:05.123Z"},"Z":{"$lastUpdated":"2026-01-02T03:04:05.1Z"},
    "\\":{"$lastUpdated":"2026-01-02T03:04:05.1234567Z"}}"#;

#[tokio::test]
async fn every_form_of_time_gets_the_same_width() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hub-0007.db");
    let file = folder.path().join("hub.db");
    std::fs::copy(fixture, &file).unwrap();
    let db = Connection::open(&file).unwrap();
    let change = "UPDATE twin SET desired_metadata = ?1, reported_metadata = '{}' WHERE module_id = ''";
    assert_eq!(db.execute(change, [METADATA]).unwrap(), 1);
    drop(db);
    let store = open(folder.path());
    let (_, twin) = store.twin(&id("pump-1")).await.unwrap().unwrap();
    let expected = json!({
        "$lastUpdated": "2026-01-02T03:04:05.1200000Z", "$lastUpdatedVersion": 4,
        "a": {
            "$lastUpdated": "2026-01-02T03:04:05.0000000Z", "b": { "$lastUpdated": "0001-01-01T00:00:00Z" },
        },
        "say \"Z\"": { "$lastUpdated": "2026-01-02T03:04:05.1230000Z" },
        "Z": { "$lastUpdated": "2026-01-02T03:04:05.1000000Z" },
        "\\": { "$lastUpdated": "2026-01-02T03:04:05.1234567Z" },
    });
    assert_eq!(Value::from(twin.desired.metadata), expected);
    assert_eq!(Value::from(twin.reported.metadata), json!({}));
    store.close().await;
}
