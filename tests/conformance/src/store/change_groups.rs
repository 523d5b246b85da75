//! Changes in groups, and the end of a store.

use ferrohub_core::registry::Authentication;
use ferrohub_core::session::{Session, Subscription};
use ferrohub_core::store::{Applied, Change, ChangeGroup, Refusal, Refused, StoreError};
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::device::Status;
use ferrohub_model::{DeviceId, ErrorCode, HubError, Timestamp};

use super::OpenStore;
use super::twins::set;
use crate::changes::{apply, create, delete, try_create, update};
use crate::samples::{id, identity};

pub async fn an_existing_id_cannot_be_created_again(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    assert_eq!(create(store, &identity("dev"), 10).await, Ok(()));
    let mut again = identity("dev");
    again.etag = "two".to_owned();
    assert_eq!(create(store, &again, 10).await, Err(Refusal::Exists));
    // A conflict takes precedence over the limit.
    assert_eq!(create(store, &again, 1).await, Err(Refusal::Exists));
    assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap().etag, "one");
}

pub async fn limits_count_devices_and_the_modules_of_each(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let add = async |name: &str, limit| create(store, &identity(name), limit).await;
    assert_eq!(add("a/m1", 2).await, Err(Refusal::NoDevice), "a module needs its device");
    assert_eq!(add("a", 2).await, Ok(()));
    assert_eq!(add("a/m1", 2).await, Ok(()));
    assert_eq!(add("a/m2", 2).await, Ok(()));
    assert_eq!(add("a/m3", 2).await, Err(Refusal::Full { limit: 2 }));
    assert_eq!(add("b", 2).await, Ok(()), "modules do not count as devices");
    assert_eq!(add("b/m1", 2).await, Ok(()), "each device has its own modules");
    assert_eq!(add("c", 2).await, Err(Refusal::Full { limit: 2 }));
    assert_eq!(delete(store, &id("a"), None).await, Ok(()));
    assert_eq!(add("c", 2).await, Ok(()));
    assert_eq!(add("d", 2).await, Err(Refusal::Full { limit: 2 }));
}

pub async fn an_update_needs_the_etag_and_keeps_session_and_activity(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let session = Session::default().with(Subscription::Methods, true);
    create(store, &identity("dev"), 10).await.unwrap();
    store.save_session(&id("dev"), Some(&session)).await.unwrap();
    let mut changed = identity("dev");
    changed.etag = "two".to_owned();
    changed.status = Status::Enabled;
    changed.status_reason = None;
    changed.authentication = Authentication::CertificateAuthority;
    changed.parent_scopes.clear();
    changed.last_activity = Timestamp::from_unix_millis(99);
    assert_eq!(update(store, &changed, "other").await, Err(Refusal::WrongEtag));
    assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap(), identity("dev"));
    assert_eq!(update(store, &changed, "one").await, Ok(()));
    let (read, kept) = store.identity_and_session(&id("dev")).await.unwrap().unwrap();
    assert_eq!(kept, Some(session));
    assert_eq!(read.last_activity, identity("dev").last_activity);
    changed.last_activity = read.last_activity;
    assert_eq!(read, changed);
    assert_eq!(update(store, &identity("gone"), "one").await, Err(Refusal::NotFound));
}

pub async fn deleting_a_device_also_deletes_its_modules_and_session(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["a", "a/m", "ab", "ab/m"] {
        create(store, &identity(name), 10).await.unwrap();
    }
    store.save_session(&id("a"), Some(&Session::from_bits(1))).await.unwrap();
    assert_eq!(delete(store, &id("a"), Some("other")).await, Err(Refusal::WrongEtag));
    assert!(store.identity(&id("a/m")).await.unwrap().is_some());
    assert_eq!(delete(store, &id("a"), Some("one")).await, Ok(()));
    assert_eq!(delete(store, &id("a"), None).await, Err(Refusal::NotFound));
    assert!(store.identity(&id("a/m")).await.unwrap().is_none());
    assert!(store.identity(&id("ab/m")).await.unwrap().is_some());
    create(store, &identity("a"), 10).await.unwrap();
    let (_, session) = store.identity_and_session(&id("a")).await.unwrap().unwrap();
    assert_eq!(session, None, "a new device does not inherit the old one's session");
    assert_eq!(delete(store, &id("ab/m"), None).await, Ok(()));
    assert!(store.identity(&id("ab")).await.unwrap().is_some());
}

pub async fn a_device_and_its_modules_change_together_or_not_at_all(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let names = async || -> Vec<String> {
        let modules = store.modules(&DeviceId::new("dev").unwrap(), None, 100).await.unwrap();
        modules.iter().map(|one| one.id.module_str().unwrap().to_owned()).collect()
    };
    let new = || {
        let device = Change::Create { identity: identity("dev"), limit: 10 };
        let modules = [identity("dev/$a"), identity("dev/$b")].map(Change::EnsureModule);
        [device].into_iter().chain(modules).collect()
    };
    assert_eq!(apply(store, new()).await, Ok(Applied::default()));
    assert_eq!(apply(store, new()).await, Err(Refusal::Exists));
    assert_eq!(names().await, ["$a", "$b"]);
    let update = |etag: &str| Change::Update { identity: identity("dev"), expected_etag: etag.to_owned() };
    let removal = |etag| {
        vec![Change::EnsureNoModule(id("dev/$a")), Change::EnsureNoModule(id("dev/gone")), update(etag)]
    };
    assert_eq!(apply(store, removal("other")).await, Err(Refusal::WrongEtag));
    assert_eq!(names().await, ["$a", "$b"], "what was removed before the refusal is there");
    assert_eq!(apply(store, removal("one")).await, Ok(Applied::default()));
    assert_eq!(names().await, ["$b"]);
    let mut other = identity("dev/$b");
    other.etag = "two".to_owned();
    let addition = vec![update("one"), Change::EnsureModule(identity("dev/$a")), Change::EnsureModule(other)];
    assert_eq!(apply(store, addition).await, Ok(Applied::default()));
    assert_eq!(names().await, ["$a", "$b"]);
    assert_eq!(apply(store, vec![Change::EnsureModule(identity("gone/$a"))]).await, Err(Refusal::NoDevice));
    assert_eq!(
        store.identity(&id("dev/$b")).await.unwrap().unwrap().etag,
        "one",
        "an existing module is not replaced"
    );
}

pub async fn an_identity_and_its_twin_are_written_together_or_not_at_all(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let create_with_twin = |limit| {
        let create = Change::Create { identity: identity("dev"), limit };
        vec![create, Change::Twin { id: id("dev"), change: set("a") }]
    };
    let refusal = HubError::new(ErrorCode::ArgumentInvalid, "no");
    let refused = {
        let refusal = refusal.clone();
        Change::Twin { id: id("dev"), change: Box::new(move |_: &TwinDocument| Err(refusal.clone())) }
    };
    let mut changes = create_with_twin(10);
    changes.push(refused);
    assert_eq!(apply(store, changes).await, Err(Refusal::Twin(refusal)));
    assert_eq!(store.identity(&id("dev")).await.unwrap(), None, "the whole group is undone");
    assert_eq!(store.device_counts().await.unwrap().total, 0);
    let applied = apply(store, create_with_twin(10)).await.unwrap();
    assert_eq!(applied.twins[0].1.tags.get("a"), Some(&"a".into()), "a change sees those before it");
    assert_eq!(store.twin(&id("dev")).await.unwrap().as_ref(), applied.twins.first());
}

pub async fn a_refused_group_does_not_affect_the_others(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let group = |name: &str| {
        let create = Change::Create { identity: identity(name), limit: 2 };
        ChangeGroup(vec![create, Change::Twin { id: id(name), change: set(name) }])
    };
    let outcomes = store.apply(["a", "b", "a", "c"].map(group).into()).await.unwrap();
    let reasons: Vec<Option<Refused>> = outcomes.into_iter().map(Result::err).collect();
    let refused = |name: &str, reason| Some(Refused { id: id(name), reason });
    assert_eq!(
        reasons,
        [None, None, refused("a", Refusal::Exists), refused("c", Refusal::Full { limit: 2 })]
    );
    for (name, exists) in [("a", true), ("b", true), ("c", false)] {
        assert_eq!(store.twin(&id(name)).await.unwrap().is_some(), exists, "{name}");
    }
    assert_eq!(store.apply(Vec::new()).await.unwrap(), []);
    assert_eq!(apply(store, Vec::new()).await, Ok(Applied::default()));
}

pub async fn a_closed_store_returns_closed(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    store.ping().await.unwrap();
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Closed)));
    assert!(matches!(try_create(store, &identity("a"), 10).await, Err(StoreError::Closed)));
    assert!(matches!(store.identity(&id("a")).await, Err(StoreError::Closed)));
    store.close().await;
}
