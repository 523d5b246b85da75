//! Queries. The adapter of a database has tests of its own, which compare it with `run_in_memory`.

use std::sync::Arc;

use ferrohub_core::queries::{LiveState, Page, PageItems, PageRequest, Position, QueryFailure, QueryLimits};
use ferrohub_core::store::Store;
use ferrohub_model::{IdentityId, SharedAccessKey, Timestamp};
use ferrohub_query::{Dialect, Limits, Query};
use serde_json::{Value, json};

use super::OpenStore;
use super::twins::set;
use crate::changes::{change_twin, create, delete};
use crate::samples::{id, identity};

/// Devices with a long id are connected, and were active a second after what is stored.
struct Live;

impl LiveState for Live {
    fn is_connected(&self, id: &IdentityId, generation_id: &str) -> bool {
        id.device_str().len() > 1 && generation_id == identity("any").generation_id
    }

    fn last_activity(&self, id: &IdentityId, generation_id: &str, stored: Timestamp) -> Timestamp {
        stored.plus_millis(if self.is_connected(id, generation_id) { 1000 } else { 0 })
    }
}

fn request(text: &str, rows: usize, position: Option<Position>) -> PageRequest {
    let query = Query::parse(text, Dialect::Twins, &Limits::QUERY).unwrap();
    PageRequest {
        query: Arc::new(query),
        position,
        rows,
        limits: QueryLimits::default(),
        live: Arc::new(Live),
    }
}

async fn rows(store: &dyn Store, text: &str) -> Value {
    match store.run_query(request(text, 1000, None)).await.unwrap() {
        Page { items: PageItems::Rows(rows), next: None } => rows.into_iter().map(Value::from).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

/// Devices `a`, `b`, `bb` and `c` and the module `b/m`; `b` and `b/m` have the tag `x`.
async fn fill(store: &dyn Store) {
    for name in ["c", "a", "bb", "b", "b/m"] {
        create(store, &identity(name), 10).await.unwrap();
    }
    for name in ["b", "b/m"] {
        change_twin(store, &id(name), set("x")).await.unwrap();
    }
}

pub async fn the_pages_of_a_query_have_each_row_once_in_order(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    fill(store).await;
    for size in 1..6 {
        let (mut found, mut position) = (Vec::new(), None);
        loop {
            let page = store.run_query(request("SELECT * FROM devices", size, position)).await.unwrap();
            let PageItems::Twins(twins) = page.items else { panic!("not twins") };
            assert!(!twins.is_empty() && twins.len() <= size);
            found.extend(twins.into_iter().map(|(identity, _)| identity.id.as_str().to_owned()));
            match page.next {
                None => break,
                next => position = next,
            }
        }
        assert_eq!(found, ["a", "b", "bb", "c"], "{size}");
    }
    // The row before a page may be gone.
    delete(store, &id("b"), None).await.unwrap();
    let after =
        store.run_query(request("SELECT * FROM devices", 9, Some(Position::After(id("b"))))).await.unwrap();
    let PageItems::Twins(twins) = after.items else { panic!("not twins") };
    assert_eq!(twins.iter().map(|(identity, _)| identity.id.as_str()).collect::<Vec<_>>(), ["bb", "c"]);
}

pub async fn a_query_sees_devices_or_modules_and_the_live_state(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    fill(store).await;
    for (text, expected) in [
        ("SELECT deviceId FROM devices WHERE tags.x = 'x'", json!([{ "deviceId": "b" }])),
        ("SELECT deviceId, moduleId FROM devices.modules", json!([{ "deviceId": "b", "moduleId": "m" }])),
        ("SELECT deviceId FROM devices WHERE connectionState = 'Connected'", json!([{ "deviceId": "bb" }])),
        ("SELECT COUNT() AS n FROM devices WHERE NOT IS_DEFINED(tags.x)", json!([{ "n": 3 }])),
        (
            "SELECT tags.x, COUNT() AS n FROM devices GROUP BY tags.x",
            json!([{ "n": 3 }, { "x": "x", "n": 1 }]),
        ),
        (
            "SELECT connectionState, COUNT() AS n FROM devices GROUP BY connectionState",
            json!([{ "connectionState": "Connected", "n": 1 }, { "connectionState": "Disconnected", "n": 3 }]),
        ),
    ] {
        assert_eq!(rows(store, text).await, expected, "{text}");
    }
    let mut limited = request("SELECT COUNT() FROM devices GROUP BY deviceId", 9, None);
    limited.limits.groups = 3;
    assert!(matches!(store.run_query(limited).await, Err(QueryFailure::TooManyGroups)));
}

pub async fn the_first_continuation_key_stays(open: impl OpenStore) {
    let store = open().await;
    let first = SharedAccessKey::generate();
    assert_eq!(store.continuation_key(&first).await.unwrap(), first);
    assert_eq!(store.continuation_key(&SharedAccessKey::generate()).await.unwrap(), first);
}
