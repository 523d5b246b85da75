//! Sessions, connection states and activity times.

use ferrohub_core::connections::{Activity, Presence, SaveSessionOutcome};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::Timestamp;

use super::OpenStore;
use crate::changes::create;
use crate::samples::{id, identity};

pub async fn sessions_and_activity_are_stored(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
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
}

pub async fn all_connected_identities_are_marked_as_disconnected(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["a", "a/m", "b", "c"] {
        create(store, &identity(name), 10).await.unwrap();
    }
    let seen = |name: &str, connected, since| Activity {
        id: id(name),
        generation_id: "17".to_owned(),
        presence: Some(Presence { connected, since: Timestamp::from_unix_millis(since) }),
        last_activity: Timestamp::from_unix_millis(since),
    };
    let activity = [seen("a", true, 60), seen("a/m", true, 61), seen("b", true, 62), seen("b", false, 63)];
    store.save_activity(&activity).await.unwrap();
    assert_eq!(store.mark_all_disconnected("node", Timestamp::from_unix_millis(90)).await.unwrap(), 2);
    assert_eq!(store.mark_all_disconnected("node", Timestamp::from_unix_millis(91)).await.unwrap(), 0);
    for (name, since) in [("a", 90), ("a/m", 90), ("b", 63), ("c", 5)] {
        let read = store.identity(&id(name)).await.unwrap().unwrap();
        assert_eq!(read.connection_state_updated, Timestamp::from_unix_millis(since), "{name}");
    }
}
