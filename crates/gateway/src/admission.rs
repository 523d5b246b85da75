//! Limits how many connections may be unauthenticated at once. When all slots are taken, the oldest unauthenticated
//! connection is evicted.
//!
//! A flood of silent connections must not lock devices out. So when all slots are taken, a new connection gets the slot
//! of the oldest unauthenticated connection, once that one has had its slot for a grace period. Until then new
//! connections wait in the backlog of the operating system. If many devices reconnect at once, they are therefore
//! served in order and not refused. The same connection is evicted if there is no socket or no file for a new one.

mod caller_connections;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

pub(crate) use caller_connections::{
    CallerConnections, CallerName, CallerPermit, CallerProtocol, TooManyConnections,
};

/// Minimum time that a connection has to authenticate before it may be evicted; enough for several round trips across
/// the world.
const AUTHENTICATION_GRACE: Duration = Duration::from_secs(1);

/// The slots for unauthenticated connections.
#[derive(Debug)]
pub(crate) struct UnauthenticatedSlots {
    limit: usize,
    table: Mutex<SlotTable>,
    /// Notified when a slot becomes free.
    released: Notify,
}

#[derive(Debug, Default)]
struct SlotTable {
    /// The taken slots in order of arrival.
    by_arrival: BTreeMap<u64, (Instant, Arc<Eviction>)>,
    last_arrival: u64,
}

/// What became of an attempt to evict the oldest unauthenticated connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// It is evicted: its task ends.
    Evicted,
    /// Its grace period lasts until this instant.
    TooEarly(Instant),
    /// There is no unauthenticated connection.
    NoneLeft,
}

/// The slot of one unauthenticated connection; released on drop.
#[derive(Debug)]
pub(crate) struct UnauthenticatedSlot {
    slots: Arc<UnauthenticatedSlots>,
    arrival: u64,
    eviction: Arc<Eviction>,
}

/// Evicts an unauthenticated connection by aborting the task that serves it. A connection that is not evicted has no
/// cost from this while it runs.
#[derive(Debug, Default)]
pub(crate) struct Eviction(Mutex<EvictionState>);

#[derive(Debug, Default)]
struct EvictionState {
    evicted: bool,
    task: Option<AbortHandle>,
}

impl Eviction {
    /// Sets the task to abort on eviction; aborts it at once if the connection is already evicted.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.evicted {
            task.abort();
        }
        state.task = Some(task);
    }

    fn evict(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.evicted = true;
        if let Some(task) = &state.task {
            task.abort();
        }
    }

    fn is_evicted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).evicted
    }
}

impl SlotTable {
    fn evict_oldest(&mut self) -> Attempt {
        let Some(oldest) = self.by_arrival.first_entry() else { return Attempt::NoneLeft };
        let until = oldest.get().0 + AUTHENTICATION_GRACE;
        if until > Instant::now() {
            return Attempt::TooEarly(until);
        }
        oldest.remove().1.evict();
        Attempt::Evicted
    }
}

impl UnauthenticatedSlots {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), table: Mutex::default(), released: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, SlotTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot. Cancel-safe: dropping the future takes no slot.
    pub(crate) async fn acquire(self: &Arc<Self>) -> UnauthenticatedSlot {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            match self.try_acquire() {
                Ok(slot) => return slot,
                Err(until) => drop(timeout_at(until, released).await),
            }
        }
    }

    /// Takes a slot, and evicts the oldest connection if necessary. If it may not be evicted yet, returns the instant
    /// from which it may.
    fn try_acquire(self: &Arc<Self>) -> Result<UnauthenticatedSlot, Instant> {
        let mut table = self.lock();
        if table.by_arrival.len() >= self.limit
            && let Attempt::TooEarly(until) = table.evict_oldest()
        {
            return Err(until);
        }
        Ok(self.insert(&mut table, Arc::default()))
    }

    /// Evicts the oldest unauthenticated connection to free its socket, once its grace period is over. Returns false if
    /// there is no unauthenticated connection. Cancel-safe.
    pub(crate) async fn evict_oldest(&self) -> bool {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            let attempt = self.lock().evict_oldest();
            match attempt {
                Attempt::Evicted => return true,
                Attempt::NoneLeft => return false,
                // A connection that authenticates or ends may be the oldest.
                Attempt::TooEarly(until) => drop(timeout_at(until, released).await),
            }
        }
    }

    fn insert(self: &Arc<Self>, table: &mut SlotTable, eviction: Arc<Eviction>) -> UnauthenticatedSlot {
        table.last_arrival += 1;
        let arrival = table.last_arrival;
        table.by_arrival.insert(arrival, (Instant::now(), eviction.clone()));
        UnauthenticatedSlot { slots: self.clone(), arrival, eviction }
    }
}

impl UnauthenticatedSlot {
    /// Returns the eviction handle of this slot.
    pub(crate) fn eviction(&self) -> Arc<Eviction> {
        self.eviction.clone()
    }

    /// Releases the slot: the connection can no longer be evicted. Returns false if it has already been evicted; the
    /// caller must then end it. A slot that is released stays so.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let held = self.slots.lock().by_arrival.remove(&self.arrival).is_some();
        if held {
            self.slots.released.notify_one();
        }
        held || !self.eviction.is_evicted()
    }
}

impl Drop for UnauthenticatedSlot {
    fn drop(&mut self) {
        let _ = self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_waits_until_the_oldest_slot_may_be_evicted() {
        let slots = UnauthenticatedSlots::new(2);
        let began = Instant::now();
        let oldest = slots.acquire().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let second = slots.acquire().await;
        let third = slots.acquire().await;
        assert_eq!(began.elapsed(), AUTHENTICATION_GRACE);
        assert!(oldest.eviction().is_evicted());
        assert!(!second.eviction().is_evicted() && !third.eviction().is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_slot_is_taken_at_once() {
        let slots = UnauthenticatedSlots::new(1);
        let held = slots.acquire().await;
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.acquire().await }
        });
        tokio::task::yield_now().await;
        let began = Instant::now();
        drop(held);
        drop(waiting.await.unwrap());
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(slots.lock().by_arrival.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_connection_gives_up_its_socket_after_its_grace_period() {
        let slots = UnauthenticatedSlots::new(10);
        assert!(!slots.evict_oldest().await, "there is none");
        let began = Instant::now();
        let oldest = slots.acquire().await;
        let second = slots.acquire().await;
        assert!(slots.evict_oldest().await);
        assert_eq!(began.elapsed(), AUTHENTICATION_GRACE);
        assert!(oldest.eviction().is_evicted() && !second.eviction().is_evicted());
        assert!(second.release() && second.release(), "once released, it stays so");
        assert!(!oldest.release(), "it was evicted");
        assert!(!slots.evict_oldest().await, "the other one has authenticated");
    }
}
