//! One partition of the event log in memory.

use std::collections::VecDeque;

use ferrohub_core::telemetry::{Batch, EVENT_OVERHEAD, PartitionState, StoredEvent};
use ferrohub_model::Timestamp;

/// The events of a partition. Their sequence numbers have no gaps, and their times never decrease.
#[derive(Debug, Clone, Default)]
pub(super) struct Partition {
    events: VecDeque<StoredEvent>,
    next: u64,
    last_enqueued: Option<Timestamp>,
    bytes: u64,
}

/// The size of an event in the log, in bytes.
fn size(event: &StoredEvent) -> u64 {
    content(event) as u64 + EVENT_OVERHEAD
}

/// The size of an event's body and properties, in bytes.
fn content(event: &StoredEvent) -> usize {
    event.body.len() + event.properties.as_stored().len()
}

impl Partition {
    /// Appends a batch. Returns the sequence number of the next event.
    pub(super) fn append(&mut self, batch: Batch) -> u64 {
        // After the clock was set back, new events must not look older than earlier ones.
        let enqueued = self.last_enqueued.map_or(batch.now, |last| last.max(batch.now));
        self.last_enqueued = Some(enqueued);
        for event in batch.events {
            let event = StoredEvent {
                partition: batch.partition,
                sequence: self.next,
                enqueued,
                source: batch.source,
                identity: batch.identity.clone(),
                properties: event.properties,
                body: event.body,
            };
            self.bytes += size(&event);
            self.next += 1;
            self.events.push_back(event);
        }
        self.next
    }

    pub(super) fn state(&self) -> PartitionState {
        PartitionState {
            begin: self.events.front().map_or(self.next, |event| event.sequence),
            next: self.next,
            last: self.next.checked_sub(1),
            oldest: self.events.front().map(|event| event.enqueued),
            last_enqueued: self.last_enqueued,
            bytes: self.bytes,
        }
    }

    pub(super) fn read(&self, from: u64, max_events: usize, max_bytes: usize) -> Vec<StoredEvent> {
        let mut bytes = 0;
        let skipped = from.saturating_sub(self.state().begin);
        self.events
            .iter()
            .skip(usize::try_from(skipped).unwrap_or(usize::MAX))
            .take(max_events)
            .take_while(|event| {
                let has_room = bytes < max_bytes;
                bytes += content(event);
                has_room
            })
            .cloned()
            .collect()
    }

    pub(super) fn first_since(&self, time: Timestamp) -> u64 {
        self.state().begin + self.events.partition_point(|event| event.enqueued < time) as u64
    }

    pub(super) fn remove_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= size(&event);
        }
    }
}
