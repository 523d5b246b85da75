//! Devices and modules.

use ferrohub_core::connections::{Activity, Presence};
use ferrohub_core::registry::{Authentication, DeviceFilter, Identity, Thumbprint};
use ferrohub_model::device::Status;
use ferrohub_model::{DeviceId, ModuleId, Timestamp};

use super::OpenStore;
use crate::changes::{create, delete, update};
use crate::samples::{id, identity};

fn ids(identities: &[Identity]) -> Vec<String> {
    identities.iter().map(|one| one.id.to_string()).collect()
}

pub async fn a_stored_identity_is_read_back_unchanged(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let mut device = identity("dev");
    for (number, authentication) in [
        device.authentication.clone(),
        Authentication::SelfSigned { primary: Thumbprint::parse(&"a1".repeat(20)), secondary: None },
        Authentication::SelfSigned { primary: None, secondary: Thumbprint::parse(&"b2".repeat(32)) },
        Authentication::CertificateAuthority,
        Authentication::None,
    ]
    .into_iter()
    .enumerate()
    {
        device.id = id(&format!("dev{number}"));
        device.authentication = authentication;
        assert_eq!(create(store, &device, 10).await, Ok(()));
        assert_eq!(store.identity(&device.id).await.unwrap().unwrap(), device);
    }
    assert!(store.identity(&id("other")).await.unwrap().is_none());
    assert!(store.identity(&id("DEV0")).await.unwrap().is_none(), "ids are case-sensitive");
}

pub async fn device_counts_follow_every_change(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let counts = async || {
        let counts = store.device_counts().await.unwrap();
        (counts.total, counts.disabled)
    };
    assert_eq!(counts().await, (0, 0));
    let mut enabled = identity("on");
    enabled.status = Status::Enabled;
    for one in [&identity("a"), &identity("b"), &enabled, &identity("on/m")] {
        create(store, one, 10).await.unwrap();
    }
    assert_eq!(counts().await, (3, 2), "modules are not counted");
    enabled.status = Status::Disabled;
    assert_eq!(update(store, &enabled, "one").await, Ok(()));
    assert_eq!(counts().await, (3, 3));
    update(store, &enabled, "one").await.unwrap();
    assert_eq!(counts().await, (3, 3), "a device that is already disabled is not counted again");
    enabled.status = Status::Enabled;
    update(store, &enabled, "one").await.unwrap();
    delete(store, &id("a"), None).await.unwrap();
    assert_eq!(counts().await, (2, 1));
    delete(store, &id("on"), None).await.unwrap();
    assert_eq!(counts().await, (1, 1));
}

pub async fn devices_are_listed_in_order_without_modules(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["b", "a", "a/m", "c"] {
        create(store, &identity(name), 10).await.unwrap();
    }
    let names = async |after: Option<&str>, top| -> Vec<String> {
        let after = after.map(|id| DeviceId::new(id).unwrap());
        ids(&store.devices(&DeviceFilter::default(), after.as_ref(), top).await.unwrap())
    };
    assert_eq!(names(None, 10).await, ["a", "b", "c"]);
    assert_eq!(names(None, 2).await, ["a", "b"]);
    assert_eq!(names(Some("b"), 2).await, ["c"]);
    assert_eq!(names(Some("aa"), 2).await, ["b", "c"], "the last device of the previous page was deleted");
    assert!(names(Some("c"), 2).await.is_empty());
    assert!(names(None, 0).await.is_empty());
}

pub async fn devices_are_filtered_by_prefix_and_connection_state(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["a-1", "a-2", "a-3", "a", "b%1", "b_1", "A-1"] {
        create(store, &identity(name), 10).await.unwrap();
    }
    let seen = |name: &str| Activity {
        id: id(name),
        generation_id: "17".to_owned(),
        presence: Some(Presence { connected: true, since: Timestamp::from_unix_millis(70) }),
        last_activity: Timestamp::from_unix_millis(80),
    };
    store.save_activity(&[seen("a-1"), seen("a-3"), seen("b_1")]).await.unwrap();
    let list = async |prefix: Option<&str>, connected, after: Option<&str>, top| -> Vec<String> {
        let filter = DeviceFilter { prefix: prefix.map(str::to_owned), connected };
        let after = after.map(|id| DeviceId::new(id).unwrap());
        ids(&store.devices(&filter, after.as_ref(), top).await.unwrap())
    };
    assert_eq!(list(Some("a-"), None, None, 10).await, ["a-1", "a-2", "a-3"]);
    assert_eq!(list(Some("b%"), None, None, 10).await, ["b%1"], "a prefix is no pattern");
    assert_eq!(list(Some("b_"), None, None, 10).await, ["b_1"]);
    assert_eq!(list(None, Some(true), None, 10).await, ["a-1", "a-3", "b_1"]);
    assert_eq!(list(Some("a"), Some(false), None, 10).await, ["a", "a-2"]);
    assert_eq!(list(Some("a-"), Some(true), Some("a-1"), 1).await, ["a-3"]);
    assert_eq!(list(Some("a-"), None, Some("A"), 1).await, ["a-1"], "a start before the prefix");
    assert!(list(Some("a-"), None, Some("b"), 10).await.is_empty(), "a start after the prefix");
    assert!(list(Some("c"), None, None, 10).await.is_empty());
}

pub async fn the_modules_of_a_device_are_listed_in_order(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["dev", "dev/b", "dev/a", "dev2", "dev2/c"] {
        create(store, &identity(name), 10).await.unwrap();
    }
    let list = |device: &str| {
        let device = DeviceId::new(device).unwrap();
        async move { store.modules(&device, None, 100).await.unwrap() }
    };
    let ids: Vec<String> = list("dev").await.iter().map(|module| module.id.to_string()).collect();
    assert_eq!(ids, ["dev/a", "dev/b"]);
    let (device, after) = (DeviceId::new("dev").unwrap(), ModuleId::new("a").unwrap());
    let page = async |after, top| store.modules(&device, after, top).await.unwrap();
    assert_eq!(page(None, 1).await[0].id, id("dev/a"));
    assert_eq!(page(Some(&after), 5).await[0].id, id("dev/b"));
    assert_eq!(list("unknown").await.len(), 0);
}
