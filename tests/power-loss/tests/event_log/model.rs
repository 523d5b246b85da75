//! What the log should contain: a second, simple implementation in memory.

use std::collections::VecDeque;

use ferrohub_core::telemetry::EventLog;
use ferrohub_model::Timestamp;
use ferrohub_store::SqliteEventLog;

use crate::operation::new_event;

pub(crate) const PARTITIONS: u16 = 3;
/// Most events that one step of retention removes.
const MAX_REMOVED: usize = 500;

/// An event as readers see it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) sequence: u64,
    pub(crate) enqueued: i64,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = String::from_utf8_lossy(self.body.get(..20).unwrap_or(&self.body));
        write!(out, "{}@{} {start:?} ({} bytes)", self.sequence, self.enqueued, self.body.len())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Partition {
    pub(crate) events: VecDeque<Event>,
    /// The next sequence number.
    pub(crate) next: u64,
    last_enqueued: Option<i64>,
    bytes: u64,
}

/// All partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model(pub(crate) Vec<Partition>);

impl Default for Model {
    fn default() -> Self {
        Self(vec![Partition::default(); usize::from(PARTITIONS)])
    }
}

impl Model {
    /// Reads the log as readers do.
    pub(crate) async fn read(log: &SqliteEventLog) -> Self {
        let mut partitions = Vec::new();
        for (partition, state) in (0..).zip(log.state().await.unwrap()) {
            let events = log.read(partition, 0, usize::MAX, usize::MAX).await.unwrap();
            let events: VecDeque<Event> = events
                .into_iter()
                .map(|event| Event {
                    sequence: event.sequence,
                    enqueued: event.enqueued.unix_millis(),
                    body: event.body.into(),
                })
                .collect();
            assert_eq!(state.begin, events.front().map_or(state.next, |event| event.sequence));
            partitions.push(Partition {
                events,
                next: state.next,
                last_enqueued: state.last_enqueued.map(Timestamp::unix_millis),
                bytes: state.bytes,
            });
        }
        Self(partitions)
    }

    /// Appends events. Returns the next sequence number.
    pub(crate) fn append(&mut self, partition: u16, now: i64, bodies: &[Vec<u8>]) -> u64 {
        let partition = &mut self.0[usize::from(partition)];
        let enqueued = now.max(partition.last_enqueued.unwrap_or(i64::MIN));
        for body in bodies {
            partition.bytes += new_event(body.clone()).bytes();
            partition.events.push_back(Event { sequence: partition.next, enqueued, body: body.clone() });
            partition.next += 1;
        }
        partition.last_enqueued = Some(enqueued);
        partition.next
    }

    /// Removes events from before `cutoff`, from the partition with the oldest one. Returns their number.
    pub(crate) fn remove_oldest(&mut self, cutoff: i64) -> u64 {
        let oldest = |partition: &Partition| partition.events.front().map(|event| event.enqueued);
        let with_events = self.0.iter_mut().filter(|partition| !partition.events.is_empty());
        let Some(partition) = with_events.min_by_key(|partition| oldest(partition)) else { return 0 };
        let mut removed = 0;
        while removed < MAX_REMOVED && oldest(partition).is_some_and(|oldest| oldest < cutoff) {
            let event = partition.events.pop_front().unwrap();
            partition.bytes -= new_event(event.body).bytes();
            removed += 1;
        }
        removed as u64
    }
}
