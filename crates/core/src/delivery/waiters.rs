//! Receivers that wait for an item of a queue that all of them share.

use std::time::Duration;

use ferrohub_model::Timestamp;
use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::sleep;

use crate::clock::Clock;

/// How long a receiver waits after a notification, so that one look serves many of them.
const NOTIFIED_DELAY: Duration = Duration::from_millis(50);
/// Maximum sleep, because the wall clock may be changed meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// What a receiver has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt<T> {
    /// An item, locked for the receiver.
    Received(T),
    /// Nothing. Without a notification there is nothing before this time.
    Nothing(Option<Timestamp>),
}

impl<T> Attempt<T> {
    /// Returns what was received.
    pub(crate) fn received(self) -> Option<T> {
        match self {
            Self::Received(item) => Some(item),
            Self::Nothing(_) => None,
        }
    }
}

/// The receivers that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    changed: Notify,
    turn: Mutex<()>,
}

impl Waiters {
    /// Wakes the receivers. Call it after an item is stored or available again.
    pub(crate) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until no other receiver has a turn. Many receivers that are woken at once would otherwise read the same items, of
    /// which one of them gets each.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Begins to wait: what changes from now on is not missed. Call it before each attempt to receive.
    pub(crate) fn begin(&self) -> Waiting<'_> {
        // It gets each notification from its creation on, not only from its first poll on.
        Waiting(self.changed.notified())
    }
}

/// A receiver that makes an attempt, and waits if there was nothing.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(Notified<'a>);

impl Waiting<'_> {
    /// Waits until there may be something: after a notification, or at `ready` if there is such a time. Costs nothing meanwhile.
    /// Cancel-safe.
    pub(crate) async fn wait(self, clock: &dyn Clock, ready: Option<Timestamp>) {
        let Some(ready) = ready else {
            self.0.await;
            return sleep(NOTIFIED_DELAY).await;
        };
        let left = ready.unix_millis().saturating_sub(clock.now().unix_millis());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(MAX_SLEEP);
        tokio::select! {
            () = self.0 => sleep(NOTIFIED_DELAY).await,
            () = sleep(left) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(self.0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_waits_for_a_notification_or_a_time() {
        let (waiters, clock, begin) = (Waiters::default(), At(1_000), Instant::now());
        assert!(waiters.begin().wait(&clock, None).now_or_never().is_none());
        // A notification between the attempt and the wait is not missed.
        let waiting = waiters.begin();
        waiters.notify();
        waiting.wait(&clock, None).await;
        assert_eq!(begin.elapsed(), NOTIFIED_DELAY);
        let ready = Timestamp::from_unix_millis(8_000);
        waiters.begin().wait(&clock, Some(ready)).await;
        assert_eq!(begin.elapsed(), NOTIFIED_DELAY + Duration::from_secs(7));
        let waiting = waiters.begin();
        waiters.notify();
        waiting.wait(&clock, Some(ready)).await;
        assert_eq!(begin.elapsed(), 2 * NOTIFIED_DELAY + Duration::from_secs(7));
        // A time that has passed, and one that is too far away.
        waiters.begin().wait(&At(9_000), Some(ready)).await;
        waiters.begin().wait(&At(i64::MIN), Some(ready)).await;
        assert_eq!(begin.elapsed(), 2 * NOTIFIED_DELAY + Duration::from_secs(7) + MAX_SLEEP);
    }

    #[tokio::test]
    async fn receivers_take_turns() {
        let waiters = Waiters::default();
        let turn = waiters.turn().await;
        assert!(waiters.turn().now_or_never().is_none());
        drop(turn);
        assert!(waiters.turn().now_or_never().is_some());
    }

    #[test]
    fn an_attempt_receives_or_not() {
        assert_eq!(Attempt::Received(1).received(), Some(1));
        assert_eq!(Attempt::<u8>::Nothing(None).received(), None);
    }
}
