//! Twins.

use ferrohub_core::store::Refusal;
use ferrohub_core::twins::{TwinChangeFn, TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::twin::TwinChange;
use ferrohub_model::{ErrorCode, HubError, Timestamp};

use super::OpenStore;
use crate::changes::{change_twin, create, delete, update};
use crate::samples::{id, identity};

/// A change that sets the tag and the desired property `key`.
pub(super) fn set(key: &str) -> TwinChangeFn {
    let values: ferrohub_model::twin::Properties = [(key.to_owned(), key.into())].into_iter().collect();
    let change = TwinChange::desired(values.clone()).and_tags(values);
    let now = Timestamp::from_unix_millis(1_700_000_000_123);
    Box::new(move |twin| twin.with_change(UpdateMode::Merge, &change, now, &TwinLimits::default()))
}

pub async fn a_changed_twin_is_read_back(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let device = identity("dev");
    create(store, &device, 10).await.unwrap();
    let fresh = (device.clone(), TwinDocument::default());
    assert_eq!(store.twin(&device.id).await.unwrap(), Some(fresh.clone()));
    for key in ["a", "b\"é"] {
        let changed = change_twin(store, &device.id, set(key)).await.unwrap();
        assert_eq!(changed.1.tags.get(key), Some(&key.into()));
        assert_eq!(store.twin(&device.id).await.unwrap(), Some(changed));
    }
    let refusal = HubError::new(ErrorCode::ArgumentInvalid, "no");
    let refused = {
        let refusal = refusal.clone();
        move |_: &TwinDocument| Err(refusal.clone())
    };
    let before = store.twin(&device.id).await.unwrap();
    assert_eq!(change_twin(store, &device.id, Box::new(refused)).await, Err(Refusal::Twin(refusal)));
    assert_eq!(store.twin(&device.id).await.unwrap(), before);
    let renamed = |twin: &TwinDocument| Ok(TwinDocument { model_id: "dtmi:x;1".to_owned(), ..twin.clone() });
    change_twin(store, &device.id, Box::new(renamed)).await.unwrap();
    assert_eq!(store.twin(&device.id).await.unwrap().unwrap().1.model_id, "dtmi:x;1");
    assert_eq!(change_twin(store, &id("unknown"), set("a")).await, Err(Refusal::NotFound));
    assert_eq!(store.twin(&id("unknown")).await.unwrap(), None);
}

pub async fn concurrent_changes_of_one_twin_are_all_applied(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let device = identity("dev");
    create(store, &device, 10).await.unwrap();
    let keys: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    let changes = keys.iter().map(|key| change_twin(store, &device.id, set(key)));
    let mut versions: Vec<u64> = Vec::new();
    for changed in futures_util::future::join_all(changes).await {
        versions.push(changed.unwrap().1.desired.version);
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..52).collect::<Vec<u64>>(), "in some order");
    assert_eq!(store.twin(&device.id).await.unwrap().unwrap().1.tags.len(), 50);
}

pub async fn a_twin_is_deleted_with_its_identity(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["dev", "dev/m", "dev2"] {
        create(store, &identity(name), 10).await.unwrap();
        change_twin(store, &id(name), set(name)).await.unwrap();
    }
    delete(store, &id("dev"), None).await.unwrap();
    for name in ["dev", "dev/m"] {
        assert_eq!(store.twin(&id(name)).await.unwrap(), None);
        create(store, &identity(name), 10).await.unwrap();
        assert_eq!(store.twin(&id(name)).await.unwrap().unwrap().1, TwinDocument::default());
    }
    assert_eq!(store.twin(&id("dev2")).await.unwrap().unwrap().1.tags.len(), 1);
    // An update of the identity does not change its twin.
    let mut device = identity("dev2");
    device.etag = "two".to_owned();
    assert_eq!(update(store, &device, "one").await, Ok(()));
    assert_eq!(store.twin(&id("dev2")).await.unwrap().unwrap().1.tags.len(), 1);
}
