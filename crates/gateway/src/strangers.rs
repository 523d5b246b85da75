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
const PATIENCE: Duration = Duration::from_secs(1);

/// All places for strangers.
#[derive(Debug)]
pub(crate) struct Strangers {
    limit: usize,
    waiting: Mutex<Waiting>,
    /// Told when a place becomes free.
    left: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// In the order in which they came.
    by_arrival: BTreeMap<u64, (Instant, Arc<TurnedOut>)>,
    count: u64,
}

/// One stranger's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    all: Arc<Strangers>,
    arrival: u64,
    turned_out: Arc<TurnedOut>,
}

/// What happens to a stranger whose place somebody else needs: the task that serves it is ended. A connection that
/// stays pays nothing for the possibility.
#[derive(Debug, Default)]
pub(crate) struct TurnedOut(Mutex<Fate>);

#[derive(Debug, Default)]
struct Fate {
    now: bool,
    task: Option<AbortHandle>,
}

impl TurnedOut {
    /// Names the task.
    pub(crate) fn ends(&self, task: AbortHandle) {
        let mut fate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fate.now {
            task.abort();
        }
        fate.task = Some(task);
    }

    fn now(&self) {
        let mut fate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fate.now = true;
        if let Some(task) = &fate.task {
            task.abort();
        }
    }

    #[cfg(test)]
    fn happened(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now
    }
}

impl Strangers {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), waiting: Mutex::default(), left: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. Dropping the future takes none.
    pub(crate) async fn place(self: &Arc<Self>) -> Stranger {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            match self.try_place() {
                Ok(stranger) => return stranger,
                Err(until) => drop(timeout_at(until, left).await),
            }
        }
    }

    /// A place, or when the longest-waiting stranger may be turned out.
    fn try_place(self: &Arc<Self>) -> Result<Stranger, Instant> {
        let mut waiting = self.lock();
        if waiting.by_arrival.len() >= self.limit
            && let Some(oldest) = waiting.by_arrival.first_entry()
        {
            let until = oldest.get().0 + PATIENCE;
            if until > Instant::now() {
                return Err(until);
            }
            oldest.remove().1.now();
        }
        Ok(self.enter(&mut waiting, Arc::default()))
    }

    fn enter(self: &Arc<Self>, waiting: &mut Waiting, turned_out: Arc<TurnedOut>) -> Stranger {
        waiting.count += 1;
        let arrival = waiting.count;
        waiting.by_arrival.insert(arrival, (Instant::now(), turned_out.clone()));
        Stranger { all: self.clone(), arrival, turned_out }
    }
}

impl Stranger {
    /// What happens when somebody else needs the place.
    pub(crate) fn turned_out(&self) -> Arc<TurnedOut> {
        self.turned_out.clone()
    }

    /// The peer proves itself: it gives its place back and is not turned out any more.
    /// False if it already was; it must end then.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        let there = self.all.lock().by_arrival.remove(&self.arrival).is_some();
        if there {
            self.all.left.notify_one();
        }
        there
    }

    /// The peer was not who it said: it gets a place again at once, even beyond the limit.
    pub(crate) fn come_back(&mut self) {
        let mut waiting = self.all.lock();
        let entered = self.all.enter(&mut waiting, self.turned_out.clone());
        drop(waiting);
        *self = entered;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_waits_until_the_oldest_had_its_time() {
        let strangers = Strangers::new(2);
        let began = Instant::now();
        let oldest = strangers.place().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let second = strangers.place().await;
        let third = strangers.place().await;
        assert_eq!(began.elapsed(), PATIENCE);
        assert!(oldest.turned_out().happened());
        assert!(!second.turned_out().happened() && !third.turned_out().happened());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_is_taken_at_once() {
        let strangers = Strangers::new(1);
        let known = strangers.place().await;
        let waiting = tokio::spawn({
            let strangers = strangers.clone();
            async move { strangers.place().await }
        });
        tokio::task::yield_now().await;
        let began = Instant::now();
        drop(known);
        drop(waiting.await.unwrap());
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(strangers.lock().by_arrival.is_empty());
    }
}
