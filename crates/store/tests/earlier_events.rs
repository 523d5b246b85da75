//! Events that were stored before properties had types: every property bag is read, and new events stand beside them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use common::{open, open_events};
use ferrohub_conformance::samples::batch;
use ferrohub_core::telemetry::{EventLog as _, EventProperties};
use ferrohub_model::Timestamp;
use ferrohub_model::message::{MessageProperties, SystemProperty};
use proptest::prelude::*;
use rusqlite::{Connection, params};

/// The log of schema version 2, without rows.
fn earlier_log() -> Connection {
    let log = Connection::open_in_memory().unwrap();
    log.execute_batch(include_str!("../src/migrations/events/0001_log.sql")).unwrap();
    log.execute_batch(include_str!("../src/migrations/events/0002_instance.sql")).unwrap();
    log.execute_batch(
        "INSERT INTO partition (id, next, last_enqueued, bytes) VALUES (0, 0, NULL, 0), (1, 0, NULL, 0)",
    )
    .unwrap();
    log.pragma_update(None, "application_id", u32::from_be_bytes(*b"FHev")).unwrap();
    log.pragma_update(None, "user_version", 2).unwrap();
    log
}

/// Appends an event as hubs of version 2 did.
fn append(log: &Connection, sequence: usize, properties: &MessageProperties) {
    let bag = properties.to_string();
    log.execute(
        "INSERT INTO event (key, enqueued, source, device_id, module_id, generation_id, auth, properties, body) \
         VALUES (?, 1, 0, 'dev', '', '17', 0, ?, x'00')",
        params![sequence as i64, bag],
    )
    .unwrap();
    log.execute(
        "UPDATE partition SET next = ?, last_enqueued = 1, bytes = bytes + ? WHERE id = 0",
        params![sequence as i64 + 1, bag.len() as i64 + 1 + 128],
    )
    .unwrap();
}

fn any_properties() -> impl Strategy<Value = MessageProperties> {
    let all: Vec<_> = SystemProperty::all().collect();
    let system = prop::collection::btree_map(prop::sample::select(all), "[ -~é]{0,20}", 0..4);
    // A property bag does not tell an application property with the name of a system property from that one.
    let is_application = |name: &String| SystemProperty::from_mqtt_key(name).is_none();
    let name = ".{1,20}".prop_filter("a system property", is_application);
    let application = prop::collection::btree_map(name, ".{0,40}", 0..4);
    (system, application).prop_map(|(system, application)| MessageProperties { system, application })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn events_of_earlier_versions_keep_their_properties(sent in prop::collection::vec(any_properties(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        // A new store beside existing events is refused.
        let store = open(folder.path());
        let earlier = earlier_log();
        for (sequence, properties) in sent.iter().enumerate() {
            append(&earlier, sequence, properties);
        }
        earlier.execute("VACUUM INTO ?", [folder.path().join("events.db").to_str().unwrap()]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let log = open_events(&store, 2);
            log.append(batch(0, "dev", 1, &[b"new"])).await.unwrap();
            let mut read = log.read(0, 0, usize::MAX, usize::MAX).await.unwrap();
            assert_eq!(read.pop().unwrap().properties, batch(0, "dev", 1, &[b"new"]).events[0].properties);
            let read: Vec<_> = read.into_iter().map(|event| event.properties).collect();
            assert_eq!(read, sent.iter().map(EventProperties::from).collect::<Vec<_>>());
            while log.remove_oldest(Timestamp::from_unix_millis(2), u64::MAX).await.unwrap() > 0 {}
            assert_eq!(log.state().await.unwrap()[0].bytes, 0, "what was added for an event is taken off");
        });
    }
}
