//! Writes connection events (connected, disconnected) to the event log.
//!
//! A connecting device does not wait for the write. Events that arrive during a write are written together by the next
//! one, in order. If too many events are pending, only the latest event of each device is kept: it has the current
//! state.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::Timestamp;
use tokio::sync::Notify;
use tracing::warn;

use super::hub_event::{HubEvent, connection_event_body};
use super::log::{EventIdentity, PartitionState};
use super::managed_event_log::{Entry, ManagedEventLog};
use crate::background::Stop;

/// Number of pending events at which outdated ones are dropped.
const COMPACTION_THRESHOLD: usize = 65_536;
/// Maximum number of events in one write, so that other writers are not blocked for long.
const BATCH_SIZE: usize = 256;

/// The start or end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConnectionEvent {
    identity: EventIdentity,
    event: HubEvent,
    sequence_number: u64,
    now: Timestamp,
}

/// Events that are not written yet.
///
/// The hub adds and removes connections while it holds the lock on this queue. The order of the queue is therefore the
/// order of those changes.
#[derive(Debug, Default)]
pub(crate) struct PendingEvents {
    events: Vec<ConnectionEvent>,
    /// The last sequence number assigned. Sequence numbers always increase.
    last_sequence_number: u64,
    /// Number of events at which outdated ones are dropped.
    compact_at: usize,
}

impl PendingEvents {
    /// Creates an empty queue whose sequence numbers start above all those in the log. A number in the log is always
    /// below the first one of the millisecond after its event's enqueue time.
    fn new(partitions: &[PartitionState], now: Timestamp) -> Self {
        let last = partitions.iter().filter_map(|partition| partition.last_enqueued).max();
        let last = last.unwrap_or(now).max(now).unix_millis();
        Self {
            events: Vec::new(),
            last_sequence_number: first_sequence_number(last.saturating_add(1)),
            compact_at: COMPACTION_THRESHOLD,
        }
    }

    pub(crate) fn push(&mut self, identity: EventIdentity, event: HubEvent, now: Timestamp) {
        self.last_sequence_number =
            first_sequence_number(now.unix_millis()).max(self.last_sequence_number + 1);
        let identity = EventIdentity { auth: None, ..identity };
        self.events.push(ConnectionEvent {
            identity,
            event,
            sequence_number: self.last_sequence_number,
            now,
        });
        if self.events.len() >= self.compact_at {
            self.compact();
        }
    }

    /// Takes all pending events.
    fn take(&mut self) -> Vec<ConnectionEvent> {
        std::mem::take(&mut self.events)
    }

    fn compact(&mut self) {
        let before = self.events.len();
        let mut seen = HashSet::new();
        let mut kept: Vec<ConnectionEvent> = Vec::new();
        for event in std::mem::take(&mut self.events).into_iter().rev() {
            if seen.insert(event.identity.id.clone()) {
                kept.push(event);
            }
        }
        kept.reverse();
        warn!(
            dropped = before - kept.len(),
            "connection events are backed up; only the latest state of each device is recorded"
        );
        self.compact_at = COMPACTION_THRESHOLD.max(2 * kept.len());
        self.events = kept;
    }
}

/// Returns the first sequence number of a millisecond. Each millisecond has room for 2^20 numbers.
fn first_sequence_number(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0) << 20
}

/// Records connection events. Exists only if the log is configured to contain them.
pub(crate) struct ConnectionEvents {
    log: Arc<ManagedEventLog>,
    host: String,
    pending: Mutex<PendingEvents>,
    /// Wakes the task that writes.
    wake: Notify,
    /// Serializes writers, which keeps the events in order.
    write_lock: tokio::sync::Mutex<()>,
}

impl ConnectionEvents {
    pub(crate) fn new(
        log: Arc<ManagedEventLog>,
        host: String,
        partitions: &[PartitionState],
        now: Timestamp,
    ) -> Self {
        let pending = Mutex::new(PendingEvents::new(partitions, now));
        Self { log, host, pending, wake: Notify::new(), write_lock: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PendingEvents> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task that writes the pending events.
    pub(crate) fn wake_writer(&self) {
        self.wake.notify_one();
    }

    /// Writes pending events until it is stopped.
    pub(crate) async fn run(self: Arc<Self>, mut stop: Stop) {
        while !stop.is_requested() {
            // Before the wait: a task that panicked may have left events behind.
            self.flush().await;
            tokio::select! {
                () = self.wake.notified() => {}
                () = stop.requested() => {}
            }
        }
    }

    /// Writes all pending events.
    pub(crate) async fn flush(&self) {
        let _guard = self.write_lock.lock().await;
        loop {
            let taken = self.lock().take();
            if taken.is_empty() {
                return;
            }
            for batch in taken.chunks(BATCH_SIZE) {
                self.append(batch).await;
            }
        }
    }

    async fn append(&self, batch: &[ConnectionEvent]) {
        let entries = batch.iter().map(|ConnectionEvent { identity, event, sequence_number, now }| {
            let new_event =
                event.to_event(&self.host, &identity.id, *now, &connection_event_body(*sequence_number));
            Entry { source: event.source(), identity: identity.clone(), events: vec![new_event], now: *now }
        });
        if let Err(error) = self.log.append_all(entries.collect()).await {
            for ConnectionEvent { identity, event, .. } in batch {
                warn!(device = %identity.id, ?event, %error, "cannot write a connection event to the event log");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::IdentityId;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::Metrics;
    use crate::telemetry::EventSettings;
    use crate::telemetry::fake::SlowLog;

    fn event_identity(id: &str) -> EventIdentity {
        EventIdentity { id: IdentityId::parse(id).unwrap(), generation_id: String::new(), auth: None }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn sequence_numbers_increase_across_clock_changes_and_restarts() {
        let mut pending = PendingEvents::new(&[], time(100));
        for now in [100, 100, 50, 200, 10] {
            pending.push(event_identity("d"), HubEvent::Connected, time(now));
        }
        let numbers: Vec<u64> = pending.events.iter().map(|event| event.sequence_number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        // Enqueue times in the log never decrease: the last event has the enqueue time of the one before it.
        let partition = PartitionState {
            begin: 0,
            next: 5,
            last: Some(4),
            oldest: None,
            last_enqueued: Some(time(200)),
            bytes: 0,
        };
        let again = PendingEvents::new(&[partition], time(10));
        assert!(again.last_sequence_number > *numbers.last().unwrap());
    }

    #[test]
    fn a_backed_up_queue_keeps_the_latest_event_of_each_device() {
        let mut pending = PendingEvents::new(&[], time(0));
        pending.compact_at = 5;
        for (id, event) in [
            ("a", HubEvent::Connected),
            ("b", HubEvent::Connected),
            ("a", HubEvent::Disconnected),
            ("c", HubEvent::Connected),
            ("c", HubEvent::Disconnected),
        ] {
            pending.push(event_identity(id), event, time(0));
        }
        let left: Vec<_> = pending.events.iter().map(|one| (one.identity.id.as_str(), one.event)).collect();
        assert_eq!(
            left,
            [("b", HubEvent::Connected), ("a", HubEvent::Disconnected), ("c", HubEvent::Disconnected)]
        );
    }

    #[tokio::test]
    async fn one_task_writes_a_burst_of_events_in_order() {
        let slow_log = Arc::new(SlowLog::new());
        let settings = EventSettings::default();
        let log = Arc::new(ManagedEventLog::new(
            slow_log.clone(),
            settings,
            &Metrics::register(&mut Registry::default()),
        ));
        let events = Arc::new(ConnectionEvents::new(log, "hub".to_owned(), &[], time(0)));
        let stop = tokio::sync::watch::Sender::new(false);
        let writer = tokio::spawn(events.clone().run(stop.subscribe().into()));
        for number in 0..1000 {
            let event = if number % 2 == 0 { HubEvent::Connected } else { HubEvent::Disconnected };
            events.lock().push(event_identity(&format!("d{number}")), event, time(1));
            events.wake_writer();
            tokio::task::yield_now().await;
        }
        slow_log.disk.add_permits(1000);
        while slow_log.count() < 1000 {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        writer.await.unwrap();
        let ids: Vec<String> =
            slow_log.written.lock().unwrap().iter().map(|batch| batch.identity.id.to_string()).collect();
        assert_eq!(ids, (0..1000).map(|number| format!("d{number}")).collect::<Vec<_>>());
    }
}
