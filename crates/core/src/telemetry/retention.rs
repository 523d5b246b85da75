//! Retention: removes old events from the log.
//!
//! The retention task sleeps until the oldest event may have reached the maximum age, or the log may have reached the
//! maximum size. While the log is empty, the task does not wake up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ferrohub_model::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tracing::{debug, error};

use super::log::{EventLog, PartitionState};
use super::settings::EventSettings;
use crate::background::{LeaseState, Stop, TaskLease};
use crate::clock::Clock;
use crate::store::StoreError;

/// Delay after an error of the log.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// A run on a log that is too large frees this fraction of the maximum size (1/64) in addition. Otherwise every append
/// to a full log would start a run.
const EXTRA_SPACE_DIVISOR: u64 = 64;

/// State that the appenders and the retention task share.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// Bytes appended since the last run.
    appended: AtomicU64,
    /// Number of appended bytes that starts the next run.
    run_threshold: AtomicU64,
    wake: Notify,
}

impl Retention {
    /// Records that the log grew by `bytes`. Wakes the task if the threshold is reached.
    pub(crate) fn record_appended(&self, bytes: u64) {
        let appended = self.appended.fetch_add(bytes, Ordering::AcqRel) + bytes;
        if appended >= self.run_threshold.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
    }

    /// Returns the bytes recorded since the last run.
    #[cfg(test)]
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    /// Removes old events until it is stopped.
    pub(crate) async fn run(self: Arc<Self>, job: RetentionJob, mut stop: Stop) {
        while !stop.is_requested() {
            // No wake-ups are needed during a run.
            self.run_threshold.store(u64::MAX, Ordering::Release);
            self.appended.store(0, Ordering::Release);
            let delay = match job.run_once().await {
                Ok(next) => {
                    self.run_threshold.store(next.appended_bytes, Ordering::Release);
                    if self.appended.load(Ordering::Acquire) >= next.appended_bytes {
                        continue;
                    }
                    next.delay
                }
                Err(error) => {
                    error!(
                        %error,
                        retry_seconds = RETRY_DELAY.as_secs(),
                        "cannot remove old events from the event log; the hub tries again"
                    );
                    Some(RETRY_DELAY)
                }
            };
            tokio::select! {
                () = sleep(delay) => {}
                () = self.wake.notified() => {}
                () = stop.requested() => {}
            }
        }
        job.lease.release().await;
    }
}

/// What the retention task works with.
pub(crate) struct RetentionJob {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) settings: EventSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) removed_events: Counter,
    /// The node that holds it removes events.
    pub(crate) lease: Arc<TaskLease>,
}

async fn sleep(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}

/// When to run again: after `delay` (`None`: no time limit), or when the log has grown by `appended_bytes`.
#[derive(Debug, PartialEq, Eq)]
struct NextRun {
    delay: Option<Duration>,
    appended_bytes: u64,
}

impl RetentionJob {
    /// Removes the events that exceed the age or size limit. Returns when to run again.
    async fn run_once(&self) -> Result<NextRun, StoreError> {
        let (log, settings, now) = (&*self.log, &self.settings, self.clock.now());
        let millis = i64::try_from(settings.retention.as_millis()).unwrap_or(i64::MAX);
        // Events that were appended before this time are too old.
        let cutoff = now.plus_millis(millis.saturating_neg());
        let max_bytes = settings.retention_bytes;
        let state = log.state().await?;
        let is_too_large = total_bytes(&state) > max_bytes;
        let has_old_events =
            state.iter().any(|partition| partition.oldest.is_some_and(|appended| appended < cutoff));
        if !is_too_large && !has_old_events {
            return Ok(next_run(&state, settings, now));
        }
        if let LeaseState::HeldElsewhere { retry_after } = self.lease.hold().await? {
            return Ok(NextRun { delay: Some(retry_after), appended_bytes: u64::MAX });
        }
        let target_bytes = if is_too_large { max_bytes - max_bytes / EXTRA_SPACE_DIVISOR } else { max_bytes };
        let mut removed = 0;
        loop {
            match log.remove_oldest(cutoff, target_bytes).await? {
                0 => break,
                count => removed += count,
            }
        }
        if removed > 0 {
            self.removed_events.inc_by(removed);
            debug!(events = removed, "removed old events");
        }
        Ok(next_run(&log.state().await?, settings, now))
    }
}

fn total_bytes(partitions: &[PartitionState]) -> u64 {
    partitions.iter().map(|partition| partition.bytes).sum()
}

fn next_run(partitions: &[PartitionState], settings: &EventSettings, now: Timestamp) -> NextRun {
    let Some(oldest) = partitions.iter().filter_map(|partition| partition.oldest).min() else {
        // An empty log needs no run until the first append.
        return NextRun { delay: None, appended_bytes: 1 };
    };
    // Wait at least this long, so that one run removes many events.
    let min_delay = (settings.retention / 100).clamp(Duration::from_secs(1), Duration::from_secs(60));
    let age = now.unix_millis().saturating_sub(oldest.unix_millis());
    let remaining = settings.retention.saturating_sub(Duration::from_millis(u64::try_from(age).unwrap_or(0)));
    let appended_bytes = settings.retention_bytes.saturating_sub(total_bytes(partitions)) + 1;
    NextRun { delay: Some(remaining.max(min_delay)), appended_bytes }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::background::Leases;
    use crate::background::fake::leases;

    /// A log with one partition that counts how often its state is read and how often events are removed.
    #[derive(Default)]
    struct CountingLog {
        state_reads: AtomicU64,
        partition: std::sync::Mutex<PartitionState>,
        removals: AtomicU64,
    }

    #[async_trait::async_trait]
    impl EventLog for CountingLog {
        fn partitions(&self) -> u16 {
            1
        }
        async fn append(&self, _: crate::telemetry::Batch) -> Result<u64, StoreError> {
            Err(StoreError::Closed)
        }
        async fn append_all(&self, _: Vec<crate::telemetry::Batch>) -> Result<(), StoreError> {
            Err(StoreError::Closed)
        }
        fn head(&self, _: u16) -> Option<watch::Receiver<u64>> {
            None
        }
        fn lost_events(&self) -> &[crate::telemetry::LostEvents] {
            &[]
        }
        async fn read(
            &self,
            _: u16,
            _: u64,
            _: usize,
            _: usize,
        ) -> Result<Vec<crate::telemetry::StoredEvent>, StoreError> {
            Ok(Vec::new())
        }
        async fn state(&self) -> Result<Vec<PartitionState>, StoreError> {
            self.state_reads.fetch_add(1, Ordering::Relaxed);
            Ok(vec![*self.partition.lock().unwrap()])
        }
        async fn first_since(&self, _: u16, _: Timestamp) -> Result<u64, StoreError> {
            Ok(0)
        }
        async fn remove_oldest(&self, _: Timestamp, _: u64) -> Result<u64, StoreError> {
            self.removals.fetch_add(1, Ordering::Relaxed);
            let mut partition = self.partition.lock().unwrap();
            let removed = partition.next - partition.begin;
            *partition = PartitionState { begin: partition.next, oldest: None, bytes: 0, ..*partition };
            Ok(removed)
        }
        async fn ping(&self) -> Result<(), StoreError> {
            Ok(())
        }
        async fn close(&self) {}
    }

    /// Uses tokio's clock as wall clock, so that a test can advance it by days.
    struct TokioClock(tokio::time::Instant);

    impl Clock for TokioClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(self.0.elapsed().as_millis() as i64)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_log_is_not_checked_and_old_events_are_removed() {
        let log = Arc::new(CountingLog::default());
        let retention = Arc::new(Retention::default());
        let stop = watch::Sender::new(false);
        let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
        let removed_events = Counter::default();
        let job = RetentionJob {
            log: log.clone(),
            settings: EventSettings::default(),
            clock: clock.clone(),
            removed_events: removed_events.clone(),
            lease: Arc::new(leases(clock.clone()).of_task("event-retention")),
        };
        let run = retention.clone().run(job, stop.subscribe().into());
        let task = tokio::spawn(run);
        let max_age = EventSettings::default().retention;
        tokio::time::sleep(max_age * 10).await;
        assert_eq!(log.state_reads.load(Ordering::Relaxed), 1, "the log is empty");
        let now = clock.now();
        *log.partition.lock().unwrap() = PartitionState {
            begin: 0,
            next: 3,
            last: Some(2),
            oldest: Some(now),
            last_enqueued: Some(now),
            bytes: 300,
        };
        retention.record_appended(300);
        tokio::time::sleep(max_age - Duration::from_secs(1)).await;
        assert_eq!((log.state_reads.load(Ordering::Relaxed), log.removals.load(Ordering::Relaxed)), (2, 0));
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(removed_events.get(), 3);
        let state_reads = log.state_reads.load(Ordering::Relaxed);
        tokio::time::sleep(max_age * 10).await;
        assert_eq!(log.state_reads.load(Ordering::Relaxed), state_reads, "the log is empty again");
        stop.send_replace(true);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn old_events_are_removed_by_the_node_that_holds_the_lease() {
        let log = Arc::new(CountingLog::default());
        let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
        let now = clock.now();
        *log.partition.lock().unwrap() = PartitionState {
            begin: 0,
            next: 3,
            last: Some(2),
            oldest: Some(now),
            last_enqueued: Some(now),
            bytes: 300,
        };
        tokio::time::sleep(EventSettings::default().retention * 2).await;
        let leases = leases(clock.clone());
        let on_node = |node: &str| RetentionJob {
            log: log.clone(),
            settings: EventSettings::default(),
            clock: clock.clone(),
            removed_events: Counter::default(),
            lease: Arc::new(Leases { node: node.to_owned(), ..leases.clone() }.of_task("event-retention")),
        };
        let (first, second) = (on_node("a"), on_node("b"));
        assert_eq!(first.lease.hold().await.unwrap(), LeaseState::Held);
        let again = second.run_once().await.unwrap();
        assert!(again.delay.is_some(), "it asks again");
        assert_eq!(log.removals.load(Ordering::Relaxed), 0);
        first.lease.release().await;
        second.run_once().await.unwrap();
        assert_eq!(second.removed_events.get(), 3);
    }

    #[test]
    fn the_next_run_is_when_an_event_may_be_too_old_or_the_log_too_large() {
        let settings = EventSettings {
            retention: Duration::from_secs(1000),
            retention_bytes: 100,
            ..EventSettings::default()
        };
        let second = Timestamp::from_unix_seconds;
        let empty = PartitionState {
            begin: 7,
            next: 7,
            last: Some(6),
            oldest: None,
            last_enqueued: Some(second(1)),
            bytes: 0,
        };
        assert_eq!(next_run(&[empty], &settings, second(50)), NextRun { delay: None, appended_bytes: 1 });
        let partition_with =
            |oldest, bytes| PartitionState { begin: 6, oldest: Some(second(oldest)), bytes, ..empty };
        let next = |now| next_run(&[partition_with(40, 10), partition_with(30, 20)], &settings, second(now));
        assert_eq!(next(50), NextRun { delay: Some(Duration::from_secs(980)), appended_bytes: 71 });
        assert_eq!(next(5000).delay, Some(Duration::from_secs(10)), "events are removed in groups");
        assert_eq!(next(0).delay, Some(Duration::from_secs(1000)), "the clock was set back");
        assert_eq!(next_run(&[partition_with(0, 200)], &settings, second(0)).appended_bytes, 1);
    }
}
