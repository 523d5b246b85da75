//! Leases of work that must happen once in a hub.

use ferrohub_core::background::{LeaseOutcome, LeaseRequest};
use ferrohub_core::store::Store;
use ferrohub_model::Timestamp;

use super::OpenStore;

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

/// Asks for the lease `work` from `now` to `expiry`, in seconds.
async fn acquire(store: &dyn Store, holder: &str, now: i64, expiry: i64) -> LeaseOutcome {
    let (name, holder) = ("work".to_owned(), holder.to_owned());
    store.acquire_lease(&LeaseRequest { name, holder, now: at(now), expiry: at(expiry) }).await.unwrap()
}

fn held(holder: &str, until: i64) -> LeaseOutcome {
    LeaseOutcome::Held { holder: holder.to_owned(), until: at(until) }
}

pub async fn a_lease_has_one_holder_until_it_expires(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    assert_eq!(acquire(store, "a", 0, 10).await, LeaseOutcome::Granted { fence: 1 });
    assert_eq!(acquire(store, "b", 9, 19).await, held("a", 10));
    assert_eq!(acquire(store, "b", 10, 20).await, LeaseOutcome::Granted { fence: 2 });
    assert_eq!(acquire(store, "a", 11, 21).await, held("b", 20));
    let other =
        LeaseRequest { name: "other".to_owned(), holder: "a".to_owned(), now: at(11), expiry: at(21) };
    assert_eq!(store.acquire_lease(&other).await.unwrap(), LeaseOutcome::Granted { fence: 1 });
}

pub async fn a_holder_gets_its_own_lease_again_with_a_larger_fence(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    assert_eq!(acquire(store, "a", 0, 10).await, LeaseOutcome::Granted { fence: 1 });
    assert_eq!(acquire(store, "a", 1, 11).await, LeaseOutcome::Granted { fence: 2 });
    assert!(!store.renew_lease("work", 1, at(99)).await.unwrap(), "the earlier process is fenced off");
    assert!(!store.release_lease("work", 1).await.unwrap());
    assert_eq!(acquire(store, "b", 5, 15).await, held("a", 11));
}

pub async fn a_lease_is_renewed_and_released_only_by_its_holder(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    assert!(!store.renew_lease("work", 1, at(10)).await.unwrap(), "nobody holds it");
    acquire(store, "a", 0, 10).await;
    assert!(store.renew_lease("work", 1, at(30)).await.unwrap());
    assert_eq!(acquire(store, "b", 20, 40).await, held("a", 30));
    assert!(store.release_lease("work", 1).await.unwrap());
    assert!(
        !store.release_lease("work", 1).await.unwrap()
            && !store.renew_lease("work", 1, at(50)).await.unwrap()
    );
    assert_eq!(acquire(store, "b", 20, 40).await, LeaseOutcome::Granted { fence: 2 });
    assert!(!store.renew_lease("work", 1, at(50)).await.unwrap());
}
