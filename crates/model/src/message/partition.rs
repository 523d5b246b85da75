//! The partitions of a hub's event log.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The current state of the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLogInfo {
    /// The consumer groups.
    pub consumer_groups: Vec<String>,
    /// The partitions, in the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// The current state of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// The partition's number, starting at 0.
    pub partition: u16,
    /// The sequence number of the oldest stored event, or of the next event if none is stored.
    pub begin_sequence_number: u64,
    /// The sequence number of the next event.
    pub next_sequence_number: u64,
    /// When the last event was accepted; `None` if there never was an event.
    pub last_enqueued_time: Option<Timestamp>,
    /// Whether the partition contains no events.
    pub is_empty: bool,
}
