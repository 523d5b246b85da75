//! Conformance tests of the `Store` port. Each test gets a new store.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use common::{apply, change_twin, create, delete, id, identity, open, try_create, update};
use ferrohub_core::authorities::{DeleteAuthorityOutcome, StoredAuthority};
use ferrohub_core::connections::{Activity, Presence, SaveSessionOutcome};
use ferrohub_core::policies::StoredPolicy;
use ferrohub_core::registry::{Authentication, DeviceFilter, Identity, Thumbprint};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_core::store::{Applied, Change, ChangeGroup, Refusal, Refused, Store, StoreError};
use ferrohub_core::twins::{TwinChangeFn, TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::device::Status;
use ferrohub_model::twin::TwinChange;
use ferrohub_model::{DeviceId, ErrorCode, HubError, ModuleId, Right, Rights, SharedAccessKey, Timestamp};

fn ids(identities: &[Identity]) -> Vec<String> {
    identities.iter().map(|one| one.id.to_string()).collect()
}

/// Runs the test on every adapter.
async fn on_every_store<F: AsyncFn(&dyn Store)>(test: F) {
    let folder = tempfile::tempdir().unwrap();
    test(&open(folder.path())).await;
}

#[tokio::test]
async fn a_stored_identity_is_read_back_unchanged() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn an_existing_id_cannot_be_created_again() {
    on_every_store(async |store| {
        assert_eq!(create(store, &identity("dev"), 10).await, Ok(()));
        let mut again = identity("dev");
        again.etag = "two".to_owned();
        assert_eq!(create(store, &again, 10).await, Err(Refusal::Exists));
        // A conflict takes precedence over the limit.
        assert_eq!(create(store, &again, 1).await, Err(Refusal::Exists));
        assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap().etag, "one");
    })
    .await;
}

#[tokio::test]
async fn limits_count_devices_and_the_modules_of_each() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn an_update_needs_the_etag_and_keeps_session_and_activity() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn deleting_a_device_also_deletes_its_modules_and_session() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn sessions_and_activity_are_stored() {
    on_every_store(async |store| {
        create(store, &identity("dev"), 10).await.unwrap();
        let session = Session::default().with(Subscription::Methods, false);
        assert_eq!(store.save_session(&id("dev"), Some(&session)).await.unwrap(), SaveSessionOutcome::Saved);
        assert_eq!(store.identity_and_session(&id("dev")).await.unwrap().unwrap().1, Some(session));
        assert_eq!(store.save_session(&id("dev"), None).await.unwrap(), SaveSessionOutcome::Saved);
        assert_eq!(store.identity_and_session(&id("dev")).await.unwrap().unwrap().1, None);
        assert_eq!(store.save_session(&id("gone"), None).await.unwrap(), SaveSessionOutcome::NotFound);

        let seen = |name: &str, generation: &str| Activity {
            id: id(name),
            generation_id: generation.to_owned(),
            presence: Some(Presence { connected: true, since: Timestamp::from_unix_millis(70) }),
            last_activity: Timestamp::from_unix_millis(80),
        };
        store.save_activity(&[seen("gone", "17"), seen("dev", "16")]).await.unwrap();
        assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap(), identity("dev"));
        store.save_activity(&[seen("dev", "17")]).await.unwrap();
        let read = store.identity(&id("dev")).await.unwrap().unwrap();
        assert_eq!(read.connection_state_updated, Timestamp::from_unix_millis(70));
        assert_eq!(read.last_activity, Timestamp::from_unix_millis(80));
        assert_eq!(read.etag, "one", "activity does not change the etag");
        let earlier = Activity {
            presence: Some(Presence { connected: false, since: Timestamp::from_unix_millis(69) }),
            last_activity: Timestamp::from_unix_millis(79),
            ..seen("dev", "17")
        };
        store.save_activity(&[earlier]).await.unwrap();
        assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap(), read, "times never decrease");
    })
    .await;
}

#[tokio::test]
async fn all_connected_identities_are_marked_as_disconnected() {
    on_every_store(async |store| {
        for name in ["a", "a/m", "b", "c"] {
            create(store, &identity(name), 10).await.unwrap();
        }
        let seen = |name: &str, connected, since| Activity {
            id: id(name),
            generation_id: "17".to_owned(),
            presence: Some(Presence { connected, since: Timestamp::from_unix_millis(since) }),
            last_activity: Timestamp::from_unix_millis(since),
        };
        let activity =
            [seen("a", true, 60), seen("a/m", true, 61), seen("b", true, 62), seen("b", false, 63)];
        store.save_activity(&activity).await.unwrap();
        assert_eq!(store.mark_all_disconnected("node", Timestamp::from_unix_millis(90)).await.unwrap(), 2);
        assert_eq!(store.mark_all_disconnected("node", Timestamp::from_unix_millis(91)).await.unwrap(), 0);
        for (name, since) in [("a", 90), ("a/m", 90), ("b", 63), ("c", 5)] {
            let read = store.identity(&id(name)).await.unwrap().unwrap();
            assert_eq!(read.connection_state_updated, Timestamp::from_unix_millis(since), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn device_counts_follow_every_change() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn a_device_and_its_modules_change_together_or_not_at_all() {
    on_every_store(async |store| {
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
        let update =
            |etag: &str| Change::Update { identity: identity("dev"), expected_etag: etag.to_owned() };
        let removal = |etag| {
            vec![Change::EnsureNoModule(id("dev/$a")), Change::EnsureNoModule(id("dev/gone")), update(etag)]
        };
        assert_eq!(apply(store, removal("other")).await, Err(Refusal::WrongEtag));
        assert_eq!(names().await, ["$a", "$b"], "what was removed before the refusal is there");
        assert_eq!(apply(store, removal("one")).await, Ok(Applied::default()));
        assert_eq!(names().await, ["$b"]);
        let mut other = identity("dev/$b");
        other.etag = "two".to_owned();
        let addition =
            vec![update("one"), Change::EnsureModule(identity("dev/$a")), Change::EnsureModule(other)];
        assert_eq!(apply(store, addition).await, Ok(Applied::default()));
        assert_eq!(names().await, ["$a", "$b"]);
        assert_eq!(
            apply(store, vec![Change::EnsureModule(identity("gone/$a"))]).await,
            Err(Refusal::NoDevice)
        );
        assert_eq!(
            store.identity(&id("dev/$b")).await.unwrap().unwrap().etag,
            "one",
            "an existing module is not replaced"
        );
    })
    .await;
}

#[tokio::test]
async fn an_identity_and_its_twin_are_written_together_or_not_at_all() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn a_refused_group_does_not_affect_the_others() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn devices_are_listed_in_order_without_modules() {
    on_every_store(async |store| {
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
        assert_eq!(
            names(Some("aa"), 2).await,
            ["b", "c"],
            "the last device of the previous page was deleted"
        );
        assert!(names(Some("c"), 2).await.is_empty());
        assert!(names(None, 0).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn devices_are_filtered_by_prefix_and_connection_state() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn policies_and_authorities_are_stored_by_name() {
    on_every_store(async |store| {
        let policy = |name: &str, byte| StoredPolicy {
            name: name.to_owned(),
            rights: Rights::of(&[Right::ServiceConnect]),
            primary_key: SharedAccessKey::from_bytes(&[byte; 32]).unwrap(),
            secondary_key: SharedAccessKey::from_bytes(&[9; 64]).unwrap(),
        };
        store.save_policy(&policy("b", 1)).await.unwrap();
        store.save_policy(&policy("a", 2)).await.unwrap();
        store.save_policy(&policy("b", 3)).await.unwrap();
        assert_eq!(store.policies().await.unwrap(), [policy("a", 2), policy("b", 3)]);

        let authority = |verified, code: Option<&str>| StoredAuthority {
            name: "factory".to_owned(),
            certificate: vec![0x30, 0x00, 0xFF],
            verified,
            verification_code: code.map(str::to_owned),
        };
        store.save_authority(&authority(false, Some("42"))).await.unwrap();
        assert_eq!(store.authorities().await.unwrap(), [authority(false, Some("42"))]);
        store.save_authority(&authority(true, None)).await.unwrap();
        assert_eq!(store.authorities().await.unwrap(), [authority(true, None)]);
        assert_eq!(store.delete_authority("factory").await.unwrap(), DeleteAuthorityOutcome::Deleted);
        assert_eq!(store.delete_authority("factory").await.unwrap(), DeleteAuthorityOutcome::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_returns_closed() {
    on_every_store(async |store| {
        store.ping().await.unwrap();
        store.close().await;
        assert!(matches!(store.ping().await, Err(StoreError::Closed)));
        assert!(matches!(try_create(store, &identity("a"), 10).await, Err(StoreError::Closed)));
        assert!(matches!(store.identity(&id("a")).await, Err(StoreError::Closed)));
        store.close().await;
    })
    .await;
}

/// A change that sets the tag and the desired property `key`.
fn set(key: &str) -> TwinChangeFn {
    let values: ferrohub_model::twin::Properties = [(key.to_owned(), key.into())].into_iter().collect();
    let change = TwinChange::desired(values.clone()).and_tags(values);
    let now = Timestamp::from_unix_millis(1_700_000_000_123);
    Box::new(move |twin| twin.with_change(UpdateMode::Merge, &change, now, &TwinLimits::default()))
}

#[tokio::test]
async fn a_changed_twin_is_read_back() {
    on_every_store(async |store| {
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
        let renamed =
            |twin: &TwinDocument| Ok(TwinDocument { model_id: "dtmi:x;1".to_owned(), ..twin.clone() });
        change_twin(store, &device.id, Box::new(renamed)).await.unwrap();
        assert_eq!(store.twin(&device.id).await.unwrap().unwrap().1.model_id, "dtmi:x;1");
        assert_eq!(change_twin(store, &id("unknown"), set("a")).await, Err(Refusal::NotFound));
        assert_eq!(store.twin(&id("unknown")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn concurrent_changes_of_one_twin_are_all_applied() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn a_twin_is_deleted_with_its_identity() {
    on_every_store(async |store| {
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
    })
    .await;
}

#[tokio::test]
async fn the_modules_of_a_device_are_listed_in_order() {
    on_every_store(async |store| {
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
    })
    .await;
}
