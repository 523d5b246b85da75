//! The parts of a hub's event log.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The event log as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLogInfo {
    /// The groups that may read it.
    pub consumer_groups: Vec<String>,
    /// Its parts, in the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// Where one part begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its number, from 0.
    pub partition: u16,
    /// Of the oldest event that is still there, or of the next one if there is none.
    pub begin_sequence_number: u64,
    /// Of the next event.
    pub next_sequence_number: u64,
    /// When the last event was taken, if there ever was one.
    pub last_enqueued_time: Option<Timestamp>,
    /// Whether it holds no event.
    pub is_empty: bool,
}
