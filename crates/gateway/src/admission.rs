//! The sockets whose peer is not known yet: bounded in number, and the silent ones make room.
//!
//! Whoever floods the hub with connections that say nothing must not keep devices out. So when all places
//! are taken, a newcomer gets that of the longest-waiting stranger, provided that one had time enough to
//! prove itself; until then newcomers wait in the operating system's queue. A storm of honest devices that
//! come back all at once is thereby worked off in order instead of being turned away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// What an honest peer is always given to prove itself, round trips across the world included.
const AUTHENTICATION_GRACE: Duration = Duration::from_secs(1);

/// All places for strangers.
#[derive(Debug)]
pub(crate) struct UnauthenticatedSlots {
    limit: usize,
    table: Mutex<SlotTable>,
    /// Told when a place becomes free.
    released: Notify,
}

#[derive(Debug, Default)]
struct SlotTable {
    /// In the order in which they came.
    by_arrival: BTreeMap<u64, (Instant, Arc<Eviction>)>,
    last_arrival: u64,
}

/// One stranger's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct UnauthenticatedSlot {
    slots: Arc<UnauthenticatedSlots>,
    arrival: u64,
    eviction: Arc<Eviction>,
}

/// What happens to a stranger whose place somebody else needs: the task that serves it is ended. A connection that
/// stays pays nothing for the possibility.
#[derive(Debug, Default)]
pub(crate) struct Eviction(Mutex<EvictionState>);

#[derive(Debug, Default)]
struct EvictionState {
    evicted: bool,
    task: Option<AbortHandle>,
}

impl Eviction {
    /// Names the task.
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

    #[cfg(test)]
    fn is_evicted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).evicted
    }
}

impl UnauthenticatedSlots {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), table: Mutex::default(), released: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, SlotTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. Dropping the future takes none.
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

    /// A place, or when the longest-waiting stranger may be turned out.
    fn try_acquire(self: &Arc<Self>) -> Result<UnauthenticatedSlot, Instant> {
        let mut table = self.lock();
        if table.by_arrival.len() >= self.limit
            && let Some(oldest) = table.by_arrival.first_entry()
        {
            let until = oldest.get().0 + AUTHENTICATION_GRACE;
            if until > Instant::now() {
                return Err(until);
            }
            oldest.remove().1.evict();
        }
        Ok(self.insert(&mut table, Arc::default()))
    }

    fn insert(self: &Arc<Self>, table: &mut SlotTable, eviction: Arc<Eviction>) -> UnauthenticatedSlot {
        table.last_arrival += 1;
        let arrival = table.last_arrival;
        table.by_arrival.insert(arrival, (Instant::now(), eviction.clone()));
        UnauthenticatedSlot { slots: self.clone(), arrival, eviction }
    }
}

impl UnauthenticatedSlot {
    /// What happens when somebody else needs the place.
    pub(crate) fn eviction(&self) -> Arc<Eviction> {
        self.eviction.clone()
    }

    /// The peer proves itself: it gives its place back and is not turned out any more.
    /// False if it already was; it must end then.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let held = self.slots.lock().by_arrival.remove(&self.arrival).is_some();
        if held {
            self.slots.released.notify_one();
        }
        held
    }

    /// The peer was not who it said: it gets a place again at once, even beyond the limit.
    pub(crate) fn readmit(&mut self) {
        let mut table = self.slots.lock();
        let inserted = self.slots.insert(&mut table, self.eviction.clone());
        drop(table);
        *self = inserted;
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
    async fn a_newcomer_waits_until_the_oldest_had_its_time() {
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
    async fn a_place_that_becomes_free_is_taken_at_once() {
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
}
