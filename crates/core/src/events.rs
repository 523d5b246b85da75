//! Events: what devices send, and what the hub itself has to tell, in a log that back ends read at their own pace.
//!
//! The log is made of partitions. All events of a device are in one of them, in the order in which the hub took them; a
//! reader goes on behind any event it has seen. Nothing is removed by reading: time and size decide what goes.

mod auth_method;
mod connection_events;
mod consumer_groups;
#[cfg(test)]
mod fake;
mod hub_event;
mod log;
mod position;
mod reader;
mod retention;
mod settings;
mod telemetry_log;

pub use auth_method::AuthMethod;
pub use log::{Batch, EVENT_OVERHEAD, EventLog, NewEvent, Origin, PartitionState, StoredEvent};
pub use position::{Position, StartPosition};
pub use reader::{EventReader, ReadError};
pub use settings::{EventSettings, EventSource};

pub(crate) use connection_events::ConnectionEvents;
pub(crate) use consumer_groups::ReaderSlotError;
pub(crate) use hub_event::HubEvent;
pub(crate) use telemetry_log::{OpenReaderError, TelemetryLog};

/// The partition of a device's events: FNV-1a of its id. The choice may never change, or events of a device could pass
/// each other.
#[must_use]
pub fn partition_of(device_id: &str, partitions: u16) -> u16 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = device_id.bytes().fold(OFFSET, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME));
    u16::try_from(hash % u32::from(partitions.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_as_they_always_were() {
        assert_eq!([1, 4, 32].map(|count| partition_of("myDevice", count)), [0, 1, 25]);
        let used: std::collections::BTreeSet<u16> =
            (0..100).map(|n| partition_of(&format!("d{n}"), 4)).collect();
        assert_eq!(used.len(), 4);
    }
}
