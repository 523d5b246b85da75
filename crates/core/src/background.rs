//! Background tasks: each is supervised. One that panics or ends is started again with back-off, counted, and shows in
//! [readiness](crate::Hub::readiness) until it has run well for a while.
//!
//! Work that must happen once in a hub also takes a lease ([`LeaseStore`]).

#[cfg(test)]
pub(crate) mod fake;
mod lease;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use lease::{LeaseState, Leases, TaskLease};
pub use store::{LeaseOutcome, LeaseRequest, LeaseStore};

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::metrics::{Outcomes, count};
use crate::panics::panic_message;

/// How long a task is down after its first failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest time that a task is down. Each failure doubles the time until then.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A task that has run this long after a failure has recovered: the hub is ready again, and the next failure is a first
/// one.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);
/// How long [`Background::stop`] waits for the tasks. Those that have not ended by then are dropped.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason of a task that ended although nobody stopped it.
const ENDED: &str = "it ended";

/// The background tasks of a hub. Clones share the tasks.
#[derive(Debug, Clone, Default)]
pub struct Background {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The tasks that were started with [`Background::start`].
    tasks: Mutex<JoinSet<()>>,
    /// The tasks that have failed and not recovered, by number.
    failed: Mutex<BTreeMap<u64, FailedTask>>,
    next_number: AtomicU64,
    stopping: watch::Sender<bool>,
    /// Failures by task.
    failures: Outcomes,
}

#[derive(Debug)]
struct FailedTask {
    name: &'static str,
    reason: String,
    /// When the task is started again; `None` if it runs again.
    backoff: Option<Duration>,
}

/// Tells a task when to end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl From<watch::Receiver<bool>> for Stop {
    /// The task must end when the value is true, or when the sender is gone.
    fn from(stop: watch::Receiver<bool>) -> Self {
        Self(stop)
    }
}

impl Stop {
    /// Returns whether the task must end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the task must end. Cancel-safe.
    pub async fn requested(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Runs `work` until it ends, or drops it when the task must end.
    pub async fn run(mut self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = work => {}
            () = self.requested() => {}
        }
    }

    /// Waits for `duration`, or until the task must end. Returns whether it must. Cancel-safe.
    pub async fn requested_within(&mut self, duration: Duration) -> bool {
        timeout(duration, self.requested()).await.is_ok()
    }
}

impl Background {
    pub(crate) fn new(failures: Outcomes) -> Self {
        Self { shared: Arc::new(Shared { failures, ..Shared::default() }) }
    }

    /// Starts a supervised task. `run` returns the task, which must end soon after it is told to; it is called again
    /// after each failure, so it must not depend on what a task that panicked has left behind.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start<F>(&self, name: &'static str, run: impl FnMut(Stop) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = self.supervise(name, self.shared.stopping.subscribe().into(), run);
        lock(&self.shared.tasks).spawn(task);
    }

    /// Returns a future that runs a supervised task like [`Background::start`], until `stop` is requested and the task
    /// has ended. The caller runs it, and waits for its end.
    pub fn supervise<F>(
        &self,
        name: &'static str,
        mut stop: Stop,
        mut run: impl FnMut(Stop) -> F + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = self.shared.clone();
        async move {
            let number = shared.next_number.fetch_add(1, Ordering::Relaxed);
            let mut backoff = FIRST_BACKOFF;
            loop {
                // `run` itself may panic, too.
                let (run, handle) = (&mut run, stop.clone());
                let once = async move { run(handle).await };
                let mut running = Box::pin(AssertUnwindSafe(once).catch_unwind());
                let ended = match timeout(RECOVERED_AFTER, &mut running).await {
                    Ok(ended) => ended,
                    Err(_elapsed) => {
                        backoff = FIRST_BACKOFF;
                        shared.recovered(number);
                        running.await
                    }
                };
                if ended.is_ok() && stop.is_requested() {
                    return;
                }
                let reason =
                    ended.err().map_or_else(|| ENDED.to_owned(), |panic| panic_message(&*panic).to_owned());
                shared.failed(number, FailedTask { name, reason, backoff: Some(backoff) });
                if stop.requested_within(backoff).await {
                    return;
                }
                shared.started_again(number);
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }

    /// Returns a sentence for each task that is down, or was started again after a failure and has not recovered yet.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problem = |FailedTask { name, reason, backoff }: &FailedTask| match backoff {
            Some(backoff) => format!(
                "the background task {name} is down: {reason}; the hub starts it again after {} s",
                backoff.as_secs_f32()
            ),
            None => format!("the background task {name} was started again after a failure: {reason}"),
        };
        lock(&self.shared.failed).values().map(problem).collect()
    }

    /// Tells the tasks that were started with [`Background::start`] to end, and waits until they have ended, but not for
    /// longer than a few seconds.
    pub async fn stop(&self) {
        self.shared.stopping.send_replace(true);
        let mut tasks = std::mem::take(&mut *lock(&self.shared.tasks));
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(STOP_TIMEOUT, ended).await.is_err() {
            warn!(
                tasks = tasks.len(),
                seconds = STOP_TIMEOUT.as_secs(),
                "some background tasks did not end in time"
            );
            tasks.shutdown().await;
        }
    }

    /// Drops the tasks that were started with [`Background::start`].
    pub(crate) fn abort(&self) {
        self.shared.stopping.send_replace(true);
        lock(&self.shared.tasks).abort_all();
    }
}

impl Shared {
    fn failed(&self, number: u64, task: FailedTask) {
        let (name, error) = (task.name, &task.reason);
        let retry_seconds = task.backoff.unwrap_or_default().as_secs_f32();
        error!(task = name, error, retry_seconds, "a background task failed; the hub starts it again");
        count(&self.failures, name);
        lock(&self.failed).insert(number, task);
    }

    fn started_again(&self, number: u64) {
        if let Some(task) = lock(&self.failed).get_mut(&number) {
            task.backoff = None;
        }
    }

    fn recovered(&self, number: u64) {
        if let Some(task) = lock(&self.failed).remove(&number) {
            info!(task = task.name, "a background task works again");
        }
    }
}

/// Locks a value that stays valid if a thread panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
