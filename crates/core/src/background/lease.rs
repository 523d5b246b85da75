//! The lease of a task whose work must happen once in a hub.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::Timestamp;
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

use super::store::{LeaseOutcome, LeaseRequest, LeaseStore};
use crate::clock::Clock;
use crate::store_error::StoreError;

/// How long a lease is valid without a renewal: another node does the work this long after its holder has died.
const TTL_MILLIS: i64 = 5 * 60 * 1000;
/// A lease with less time left is renewed before work is done under it. That leaves the work enough time, and a task
/// that runs often does not write to the store each time.
const RENEW_BELOW_MILLIS: i64 = TTL_MILLIS / 2;
/// The longest time until a node asks again for a lease that another node holds, because its holder may release it.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Whether a task may do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// This node does the work.
    Held,
    /// Another node does the work.
    HeldElsewhere {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What every lease of a node needs.
#[derive(Clone)]
pub(crate) struct Leases {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The name of this node.
    pub(crate) node: String,
}

impl Leases {
    pub(crate) fn of_task(&self, name: &'static str) -> TaskLease {
        TaskLease { leases: self.clone(), name, granted: Mutex::default() }
    }
}

/// The lease of one task. The task calls [`TaskLease::hold`] before each round of its work, not once: between two rounds,
/// the lease may expire.
///
/// The work itself is not stopped when the lease ends. Each of its writes must be harmless if another node has made it
/// already; `docs/decisions/0022-leases-for-work-that-happens-once.md` says why each is.
pub(crate) struct TaskLease {
    leases: Leases,
    name: &'static str,
    granted: Mutex<Option<Granted>>,
}

#[derive(Debug, Clone, Copy)]
struct Granted {
    fence: u64,
    expiry: Timestamp,
}

impl TaskLease {
    /// Takes or renews the lease if necessary. Returns whether this node holds it.
    pub(crate) async fn hold(&self) -> Result<LeaseState, StoreError> {
        let Leases { store, clock, node } = &self.leases;
        let mut granted = self.granted.lock().await;
        let now = clock.now();
        let expiry = now.plus_millis(TTL_MILLIS);
        if let Some(lease) = &mut *granted {
            let left = lease.expiry.unix_millis().saturating_sub(now.unix_millis());
            // More than the whole time is left if the clock was set back.
            if (RENEW_BELOW_MILLIS..=TTL_MILLIS).contains(&left) {
                return Ok(LeaseState::Held);
            }
            if store.renew_lease(self.name, lease.fence, expiry).await? {
                lease.expiry = expiry;
                return Ok(LeaseState::Held);
            }
            warn!(lease = self.name, "another node has taken over a lease of this node");
            *granted = None;
        }
        let request = LeaseRequest { name: self.name.to_owned(), holder: node.clone(), now, expiry };
        match store.acquire_lease(&request).await? {
            LeaseOutcome::Granted { fence } => {
                debug!(lease = self.name, fence, "lease granted");
                *granted = Some(Granted { fence, expiry });
                Ok(LeaseState::Held)
            }
            LeaseOutcome::Held { holder, until } => {
                info!(lease = self.name, holder, %until, "another node holds the lease");
                let left = until.unix_millis().saturating_sub(now.unix_millis());
                let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
                Ok(LeaseState::HeldElsewhere { retry_after: left.min(MAX_RETRY) })
            }
        }
    }

    /// Gives the lease back, so that another node need not wait for its end. For a node that stops.
    pub(crate) async fn release(&self) {
        let Some(Granted { fence, .. }) = self.granted.lock().await.take() else { return };
        if let Err(error) = self.leases.store.release_lease(self.name, fence).await {
            debug!(lease = self.name, %error, "cannot release a lease; it ends by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::super::fake::FakeLeases;
    use super::*;

    #[derive(Default)]
    struct TestClock(AtomicI64);

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
        }
    }

    fn node(name: &str, store: &Arc<FakeLeases>, clock: &Arc<TestClock>) -> TaskLease {
        Leases { store: store.clone(), clock: clock.clone(), node: name.to_owned() }.of_task("work")
    }

    fn stored(store: &FakeLeases) -> (String, u64, i64) {
        let leases = store.0.lock().unwrap();
        let (holder, fence, expiry) = leases.get("work").unwrap().clone();
        (holder, fence, expiry.unix_millis())
    }

    #[tokio::test]
    async fn a_lease_is_renewed_only_when_half_its_time_is_over() {
        let (store, clock) = (Arc::<FakeLeases>::default(), Arc::<TestClock>::default());
        let lease = node("a", &store, &clock);
        assert_eq!(lease.hold().await.unwrap(), LeaseState::Held);
        clock.0.store(RENEW_BELOW_MILLIS, Ordering::SeqCst);
        assert_eq!(lease.hold().await.unwrap(), LeaseState::Held);
        assert_eq!(stored(&store), ("a".to_owned(), 1, TTL_MILLIS));
        clock.0.store(RENEW_BELOW_MILLIS + 1, Ordering::SeqCst);
        assert_eq!(lease.hold().await.unwrap(), LeaseState::Held);
        assert_eq!(stored(&store), ("a".to_owned(), 1, RENEW_BELOW_MILLIS + 1 + TTL_MILLIS));
        // Also after the clock was set back: the stored expiry would keep other nodes waiting.
        clock.0.store(0, Ordering::SeqCst);
        assert_eq!(lease.hold().await.unwrap(), LeaseState::Held);
        assert_eq!(stored(&store), ("a".to_owned(), 1, TTL_MILLIS));
    }

    #[tokio::test]
    async fn a_node_that_was_started_again_has_its_lease_at_once_and_the_old_process_loses_it() {
        let (store, clock) = (Arc::<FakeLeases>::default(), Arc::<TestClock>::default());
        let (old, new) = (node("a", &store, &clock), node("a", &store, &clock));
        assert_eq!(old.hold().await.unwrap(), LeaseState::Held);
        assert_eq!(new.hold().await.unwrap(), LeaseState::Held);
        assert_eq!(stored(&store), ("a".to_owned(), 2, TTL_MILLIS));
        old.release().await;
        assert_eq!(stored(&store), ("a".to_owned(), 2, TTL_MILLIS), "an old holder cannot release it");
    }

    #[tokio::test]
    async fn another_node_waits_until_the_lease_is_released_or_expires() {
        let (store, clock) = (Arc::<FakeLeases>::default(), Arc::<TestClock>::default());
        let (first, second) = (node("a", &store, &clock), node("b", &store, &clock));
        assert_eq!(first.hold().await.unwrap(), LeaseState::Held);
        let elsewhere = |retry_after| LeaseState::HeldElsewhere { retry_after };
        assert_eq!(second.hold().await.unwrap(), elsewhere(MAX_RETRY));
        clock.0.store(TTL_MILLIS - 1000, Ordering::SeqCst);
        assert_eq!(second.hold().await.unwrap(), elsewhere(Duration::from_secs(1)));
        first.release().await;
        assert_eq!(second.hold().await.unwrap(), LeaseState::Held);
        // The holder dies. The first node takes over when the lease has expired, and the second one notices.
        clock.0.fetch_add(TTL_MILLIS, Ordering::SeqCst);
        assert_eq!(first.hold().await.unwrap(), LeaseState::Held);
        assert_eq!(second.hold().await.unwrap(), elsewhere(MAX_RETRY));
        assert_eq!(stored(&store).1, 3);
    }
}
