//! Conformance tests of the `Store` port. Each test gets a new store.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use common::{id, identity, open};
use ferrohub_core::registry::{Authentication, Thumbprint};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_core::store::{
    Activity, ModuleChange, Presence, Store, StoreError, StoredAuthority, StoredPolicy, TwinChangeOutcome,
    WriteOutcome,
};
use ferrohub_core::twins::{TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::device::Status;
use ferrohub_model::twin::TwinChange;
use ferrohub_model::{DeviceId, ErrorCode, HubError, Right, Rights, SharedAccessKey, Timestamp};

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
            assert_eq!(store.create_identity(&device, 10).await.unwrap(), WriteOutcome::Done);
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
        assert_eq!(store.create_identity(&identity("dev"), 10).await.unwrap(), WriteOutcome::Done);
        let mut again = identity("dev");
        again.etag = "two".to_owned();
        assert_eq!(store.create_identity(&again, 10).await.unwrap(), WriteOutcome::Conflict);
        // A conflict takes precedence over the limit.
        assert_eq!(store.create_identity(&again, 1).await.unwrap(), WriteOutcome::Conflict);
        assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap().etag, "one");
    })
    .await;
}

#[tokio::test]
async fn limits_count_devices_and_the_modules_of_each() {
    on_every_store(async |store| {
        let create = async |name: &str, limit| store.create_identity(&identity(name), limit).await.unwrap();
        assert_eq!(create("a/m1", 2).await, WriteOutcome::NotFound, "a module needs its device");
        assert_eq!(create("a", 2).await, WriteOutcome::Done);
        assert_eq!(create("a/m1", 2).await, WriteOutcome::Done);
        assert_eq!(create("a/m2", 2).await, WriteOutcome::Done);
        assert_eq!(create("a/m3", 2).await, WriteOutcome::Full);
        assert_eq!(create("b", 2).await, WriteOutcome::Done, "modules do not count as devices");
        assert_eq!(create("b/m1", 2).await, WriteOutcome::Done, "each device has its own modules");
        assert_eq!(create("c", 2).await, WriteOutcome::Full);
        assert_eq!(store.delete_identity(&id("a"), None).await.unwrap(), WriteOutcome::Done);
        assert_eq!(create("c", 2).await, WriteOutcome::Done);
        assert_eq!(create("d", 2).await, WriteOutcome::Full);
    })
    .await;
}

#[tokio::test]
async fn an_update_needs_the_etag_and_keeps_session_and_activity() {
    on_every_store(async |store| {
        let session = Session::default().with(Subscription::Methods, true);
        store.create_identity(&identity("dev"), 10).await.unwrap();
        store.save_session(&id("dev"), Some(&session)).await.unwrap();
        let mut changed = identity("dev");
        changed.etag = "two".to_owned();
        changed.status = Status::Enabled;
        changed.status_reason = None;
        changed.authentication = Authentication::CertificateAuthority;
        changed.parent_scopes.clear();
        changed.last_activity = Timestamp::from_unix_millis(99);
        assert_eq!(store.update_identity(&changed, "other").await.unwrap(), WriteOutcome::Conflict);
        assert_eq!(store.identity(&id("dev")).await.unwrap().unwrap(), identity("dev"));
        assert_eq!(store.update_identity(&changed, "one").await.unwrap(), WriteOutcome::Done);
        let (read, kept) = store.identity_and_session(&id("dev")).await.unwrap().unwrap();
        assert_eq!(kept, Some(session));
        assert_eq!(read.last_activity, identity("dev").last_activity);
        changed.last_activity = read.last_activity;
        assert_eq!(read, changed);
        assert_eq!(store.update_identity(&identity("gone"), "one").await.unwrap(), WriteOutcome::NotFound);
    })
    .await;
}

#[tokio::test]
async fn deleting_a_device_also_deletes_its_modules_and_session() {
    on_every_store(async |store| {
        for name in ["a", "a/m", "ab", "ab/m"] {
            store.create_identity(&identity(name), 10).await.unwrap();
        }
        store.save_session(&id("a"), Some(&Session::from_bits(1))).await.unwrap();
        assert_eq!(store.delete_identity(&id("a"), Some("other")).await.unwrap(), WriteOutcome::Conflict);
        assert!(store.identity(&id("a/m")).await.unwrap().is_some());
        assert_eq!(store.delete_identity(&id("a"), Some("one")).await.unwrap(), WriteOutcome::Done);
        assert_eq!(store.delete_identity(&id("a"), None).await.unwrap(), WriteOutcome::NotFound);
        assert!(store.identity(&id("a/m")).await.unwrap().is_none());
        assert!(store.identity(&id("ab/m")).await.unwrap().is_some());
        store.create_identity(&identity("a"), 10).await.unwrap();
        let (_, session) = store.identity_and_session(&id("a")).await.unwrap().unwrap();
        assert_eq!(session, None, "a new device does not inherit the old one's session");
        assert_eq!(store.delete_identity(&id("ab/m"), None).await.unwrap(), WriteOutcome::Done);
        assert!(store.identity(&id("ab")).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn sessions_and_activity_are_stored() {
    on_every_store(async |store| {
        store.create_identity(&identity("dev"), 10).await.unwrap();
        let session = Session::default().with(Subscription::Methods, false);
        assert_eq!(store.save_session(&id("dev"), Some(&session)).await.unwrap(), WriteOutcome::Done);
        assert_eq!(store.identity_and_session(&id("dev")).await.unwrap().unwrap().1, Some(session));
        assert_eq!(store.save_session(&id("dev"), None).await.unwrap(), WriteOutcome::Done);
        assert_eq!(store.identity_and_session(&id("dev")).await.unwrap().unwrap().1, None);
        assert_eq!(store.save_session(&id("gone"), None).await.unwrap(), WriteOutcome::NotFound);

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
            store.create_identity(&identity(name), 10).await.unwrap();
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
        assert_eq!(store.mark_all_disconnected(Timestamp::from_unix_millis(90)).await.unwrap(), 2);
        assert_eq!(store.mark_all_disconnected(Timestamp::from_unix_millis(91)).await.unwrap(), 0);
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
            store.create_identity(one, 10).await.unwrap();
        }
        assert_eq!(counts().await, (3, 2), "modules are not counted");
        enabled.status = Status::Disabled;
        assert_eq!(store.update_identity(&enabled, "one").await.unwrap(), WriteOutcome::Done);
        assert_eq!(counts().await, (3, 3));
        store.update_identity(&enabled, "one").await.unwrap();
        assert_eq!(counts().await, (3, 3), "a device that is already disabled is not counted again");
        enabled.status = Status::Enabled;
        store.update_identity(&enabled, "one").await.unwrap();
        store.delete_identity(&id("a"), None).await.unwrap();
        assert_eq!(counts().await, (2, 1));
        store.delete_identity(&id("on"), None).await.unwrap();
        assert_eq!(counts().await, (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_device_and_its_modules_change_together_or_not_at_all() {
    on_every_store(async |store| {
        let names = async || -> Vec<String> {
            let modules = store.modules(&DeviceId::new("dev").unwrap()).await.unwrap();
            modules.iter().map(|one| one.id.module_str().unwrap().to_owned()).collect()
        };
        let modules = [identity("dev/$a"), identity("dev/$b")];
        assert_eq!(store.create_device(&identity("dev"), &modules, 10).await.unwrap(), WriteOutcome::Done);
        assert_eq!(
            store.create_device(&identity("dev"), &modules, 10).await.unwrap(),
            WriteOutcome::Conflict
        );
        assert_eq!(names().await, ["$a", "$b"]);
        let removal = ModuleChange { added: Vec::new(), removed: vec![id("dev/$a"), id("dev/gone")] };
        assert_eq!(
            store.update_device(&identity("dev"), "other", &removal).await.unwrap(),
            WriteOutcome::Conflict
        );
        assert_eq!(names().await, ["$a", "$b"]);
        assert_eq!(store.update_device(&identity("dev"), "one", &removal).await.unwrap(), WriteOutcome::Done);
        assert_eq!(names().await, ["$b"]);
        let mut other = identity("dev/$b");
        other.etag = "two".to_owned();
        let addition = ModuleChange { added: vec![identity("dev/$a"), other], removed: Vec::new() };
        assert_eq!(
            store.update_device(&identity("dev"), "one", &addition).await.unwrap(),
            WriteOutcome::Done
        );
        assert_eq!(names().await, ["$a", "$b"]);
        assert_eq!(
            store.identity(&id("dev/$b")).await.unwrap().unwrap().etag,
            "one",
            "an existing module is not replaced"
        );
    })
    .await;
}

#[tokio::test]
async fn devices_are_listed_in_order_without_modules() {
    on_every_store(async |store| {
        for name in ["b", "a", "a/m", "c"] {
            store.create_identity(&identity(name), 10).await.unwrap();
        }
        let names = async |top| -> Vec<String> {
            store.devices(top).await.unwrap().iter().map(|one| one.id.as_str().to_owned()).collect()
        };
        assert_eq!(names(10).await, ["a", "b", "c"]);
        assert_eq!(names(2).await, ["a", "b"]);
        assert!(names(0).await.is_empty());
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
        assert_eq!(store.delete_authority("factory").await.unwrap(), WriteOutcome::Done);
        assert_eq!(store.delete_authority("factory").await.unwrap(), WriteOutcome::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_returns_closed() {
    on_every_store(async |store| {
        store.ping().await.unwrap();
        store.close().await;
        assert!(matches!(store.ping().await, Err(StoreError::Closed)));
        assert!(matches!(store.create_identity(&identity("a"), 10).await, Err(StoreError::Closed)));
        assert!(matches!(store.identity(&id("a")).await, Err(StoreError::Closed)));
        store.close().await;
    })
    .await;
}

/// A change that sets the tag and the desired property `key`.
fn set(key: &str) -> ferrohub_core::store::TwinChangeFn {
    let values: ferrohub_model::twin::Properties = [(key.to_owned(), key.into())].into_iter().collect();
    let change = TwinChange::desired(values.clone()).and_tags(values);
    let now = Timestamp::from_unix_millis(1_700_000_000_123);
    Box::new(move |twin| twin.with_change(UpdateMode::Merge, &change, now, &TwinLimits::default()))
}

#[tokio::test]
async fn a_changed_twin_is_read_back() {
    on_every_store(async |store| {
        let device = identity("dev");
        store.create_identity(&device, 10).await.unwrap();
        let fresh = (device.clone(), TwinDocument::default());
        assert_eq!(store.twin(&device.id).await.unwrap(), Some(fresh.clone()));
        for key in ["a", "b\"é"] {
            let changed = store.change_twin(&device.id, set(key)).await.unwrap();
            let TwinChangeOutcome::Done(changed) = changed else { panic!("{changed:?}") };
            assert_eq!(changed.1.tags.get(key), Some(&key.into()));
            assert_eq!(store.twin(&device.id).await.unwrap(), Some(*changed));
        }
        let refusal = HubError::new(ErrorCode::ArgumentInvalid, "no");
        let refused = {
            let refusal = refusal.clone();
            move |_: &TwinDocument| Err(refusal.clone())
        };
        let before = store.twin(&device.id).await.unwrap();
        assert_eq!(
            store.change_twin(&device.id, Box::new(refused)).await.unwrap(),
            TwinChangeOutcome::Refused(refusal)
        );
        assert_eq!(store.twin(&device.id).await.unwrap(), before);
        let renamed =
            |twin: &TwinDocument| Ok(TwinDocument { model_id: "dtmi:x;1".to_owned(), ..twin.clone() });
        store.change_twin(&device.id, Box::new(renamed)).await.unwrap();
        assert_eq!(store.twin(&device.id).await.unwrap().unwrap().1.model_id, "dtmi:x;1");
        assert_eq!(store.change_twin(&id("unknown"), set("a")).await.unwrap(), TwinChangeOutcome::NotFound);
        assert_eq!(store.twin(&id("unknown")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn concurrent_changes_of_one_twin_are_all_applied() {
    on_every_store(async |store| {
        let device = identity("dev");
        store.create_identity(&device, 10).await.unwrap();
        let keys: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
        let changes = keys.iter().map(|key| store.change_twin(&device.id, set(key)));
        let mut versions: Vec<u64> = Vec::new();
        for changed in futures_util::future::try_join_all(changes).await.unwrap() {
            let TwinChangeOutcome::Done(changed) = changed else { panic!("{changed:?}") };
            versions.push(changed.1.desired.version);
        }
        assert_eq!(versions, (2..52).collect::<Vec<u64>>(), "in the order of the calls");
        assert_eq!(store.twin(&device.id).await.unwrap().unwrap().1.tags.len(), 50);
    })
    .await;
}

#[tokio::test]
async fn a_twin_is_deleted_with_its_identity() {
    on_every_store(async |store| {
        for name in ["dev", "dev/m", "dev2"] {
            store.create_identity(&identity(name), 10).await.unwrap();
            store.change_twin(&id(name), set(name)).await.unwrap();
        }
        store.delete_identity(&id("dev"), None).await.unwrap();
        for name in ["dev", "dev/m"] {
            assert_eq!(store.twin(&id(name)).await.unwrap(), None);
            store.create_identity(&identity(name), 10).await.unwrap();
            assert_eq!(store.twin(&id(name)).await.unwrap().unwrap().1, TwinDocument::default());
        }
        assert_eq!(store.twin(&id("dev2")).await.unwrap().unwrap().1.tags.len(), 1);
        // An update of the identity does not change its twin.
        let mut device = identity("dev2");
        device.etag = "two".to_owned();
        assert_eq!(store.update_identity(&device, "one").await.unwrap(), WriteOutcome::Done);
        assert_eq!(store.twin(&id("dev2")).await.unwrap().unwrap().1.tags.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_modules_of_a_device_are_listed_in_order() {
    on_every_store(async |store| {
        for name in ["dev", "dev/b", "dev/a", "dev2", "dev2/c"] {
            store.create_identity(&identity(name), 10).await.unwrap();
        }
        let list = |device: &str| {
            let device = DeviceId::new(device).unwrap();
            async move { store.modules(&device).await.unwrap() }
        };
        let ids: Vec<String> = list("dev").await.iter().map(|module| module.id.to_string()).collect();
        assert_eq!(ids, ["dev/a", "dev/b"]);
        assert_eq!(list("unknown").await.len(), 0);
    })
    .await;
}
