//! Who comes and who goes, on its way to the log.
//!
//! A device that connects does not wait for the disk. What came about while one write was under way is written together,
//! in its order; only when a great many wait, all but the last of each device is dropped, for that is what counts.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::Timestamp;
use tracing::warn;

use super::log::{Origin, PartitionState};
use super::shelf::{Entry, Shelf};
use super::told::{Happening, connection_body};

/// So many wait before those that are out of date are dropped.
const MANY: usize = 65_536;
/// So many are written in one step: others write as well.
const BATCH: usize = 256;

/// A connection that began or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Coming {
    origin: Origin,
    happening: Happening,
    number: u64,
    now: Timestamp,
}

/// What is not written yet. Whoever changes who is connected holds it meanwhile, so that the order here is the order in
/// which it came about.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Vec<Coming>,
    /// The last sequence number that was given; they rise for ever.
    last_number: u64,
    /// With so many, those that are out of date are dropped.
    tidy_at: usize,
    /// Whether somebody is about to write all that waits, so that there are never two of them for each that comes.
    is_served: bool,
}

impl Queue {
    /// Numbers go on behind all that are in the log: none of them is above what its time says.
    fn new(log: &[PartitionState], now: Timestamp) -> Self {
        let last = log.iter().filter_map(|partition| partition.last_enqueued).max();
        let last = last.unwrap_or(now).max(now).unix_millis();
        Self {
            waiting: Vec::new(),
            last_number: numbered(last.saturating_add(1)),
            tidy_at: MANY,
            is_served: false,
        }
    }

    pub(crate) fn push(&mut self, origin: Origin, happening: Happening, now: Timestamp) {
        self.last_number = numbered(now.unix_millis()).max(self.last_number + 1);
        let origin = Origin { auth: None, ..origin };
        self.waiting.push(Coming { origin, happening, number: self.last_number, now });
        if self.waiting.len() >= self.tidy_at {
            self.tidy();
        }
    }

    /// What waits. Nobody serves the queue any more if that is nothing.
    fn take(&mut self) -> Vec<Coming> {
        self.is_served = !self.waiting.is_empty();
        std::mem::take(&mut self.waiting)
    }

    fn tidy(&mut self) {
        let before = self.waiting.len();
        let mut seen = HashSet::new();
        let mut kept: Vec<Coming> = Vec::new();
        for coming in std::mem::take(&mut self.waiting).into_iter().rev() {
            if seen.insert(coming.origin.id.clone()) {
                kept.push(coming);
            }
        }
        kept.reverse();
        warn!(
            dropped = before - kept.len(),
            "the event log is far behind: only the last state of devices is told"
        );
        self.tidy_at = MANY.max(2 * kept.len());
        self.waiting = kept;
    }
}

/// Room for a million in each millisecond.
fn numbered(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0) << 20
}

/// Connections that began or ended, if the log is to tell of them.
pub(crate) struct Comings {
    shelf: Arc<Shelf>,
    host: String,
    queue: Mutex<Queue>,
    /// One writes at a time, so that what comes later is written later.
    writing: tokio::sync::Mutex<()>,
}

impl Comings {
    pub(crate) fn new(shelf: Arc<Shelf>, host: String, log: &[PartitionState], now: Timestamp) -> Self {
        let queue = Mutex::new(Queue::new(log, now));
        Self { shelf, host, queue, writing: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that what waits is written. At most one task waits for the disk, however slow that is.
    pub(crate) fn begin_writing(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().is_served, true) {
            return;
        }
        let comings = self.clone();
        tokio::spawn(async move { comings.write().await });
    }

    /// Writes all that waits.
    pub(crate) async fn write(&self) {
        let _mine = self.writing.lock().await;
        loop {
            let waiting = self.lock().take();
            if waiting.is_empty() {
                return;
            }
            for batch in waiting.chunks(BATCH) {
                self.append(batch).await;
            }
        }
    }

    async fn append(&self, batch: &[Coming]) {
        let entries = batch.iter().map(|Coming { origin, happening, number, now }| {
            let event = happening.event(&self.host, &origin.id, *now, &connection_body(*number));
            Entry { source: happening.source(), origin: origin.clone(), events: vec![event], now: *now }
        });
        if let Err(cause) = self.shelf.append_all(entries.collect()).await {
            for Coming { origin, happening, .. } in batch {
                warn!(device = %origin.id, ?happening, %cause, "the event log does not tell of it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::IdentityId;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::events::EventSettings;
    use crate::events::fake::SlowLog;
    use crate::metrics::Metrics;

    fn origin(id: &str) -> Origin {
        Origin { id: IdentityId::parse(id).unwrap(), generation_id: String::new(), auth: None }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn numbers_rise_also_when_the_clock_goes_back_and_over_a_restart() {
        let mut queue = Queue::new(&[], time(100));
        for now in [100, 100, 50, 200, 10] {
            queue.push(origin("d"), Happening::Connected, time(now));
        }
        let numbers: Vec<u64> = queue.waiting.iter().map(|coming| coming.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        // The log has the last of them at the time of the one before, for its times never fall.
        let log =
            PartitionState { begin: 0, next: 5, oldest: None, last_enqueued: Some(time(200)), bytes: 0 };
        let again = Queue::new(&[log], time(10));
        assert!(again.last_number > *numbers.last().unwrap());
    }

    #[test]
    fn when_many_wait_the_last_of_each_device_stays() {
        let mut queue = Queue::new(&[], time(0));
        queue.tidy_at = 5;
        for (id, happening) in [
            ("a", Happening::Connected),
            ("b", Happening::Connected),
            ("a", Happening::Disconnected),
            ("c", Happening::Connected),
            ("c", Happening::Disconnected),
        ] {
            queue.push(origin(id), happening, time(0));
        }
        let left: Vec<_> =
            queue.waiting.iter().map(|coming| (coming.origin.id.as_str(), coming.happening)).collect();
        assert_eq!(
            left,
            [("b", Happening::Connected), ("a", Happening::Disconnected), ("c", Happening::Disconnected)]
        );
    }

    #[tokio::test]
    async fn a_storm_is_written_in_its_order_by_one_task() {
        let log = Arc::new(SlowLog::new());
        let settings = EventSettings::default();
        let shelf = Arc::new(Shelf::new(log.clone(), settings, &Metrics::register(&mut Registry::default())));
        let comings = Arc::new(Comings::new(shelf, "hub".to_owned(), &[], time(0)));
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        for number in 0..1000 {
            let happening = if number % 2 == 0 { Happening::Connected } else { Happening::Disconnected };
            comings.lock().push(origin(&format!("d{number}")), happening, time(1));
            comings.begin_writing();
            tokio::task::yield_now().await;
        }
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before + 1);
        log.disk.add_permits(1000);
        comings.write().await;
        let ids: Vec<String> =
            log.written.lock().unwrap().iter().map(|batch| batch.origin.id.to_string()).collect();
        assert_eq!(ids, (0..1000).map(|number| format!("d{number}")).collect::<Vec<_>>());
        assert!(!comings.lock().is_served, "the next one starts a writer");
    }
}
