//! The event log: telemetry of devices, and events of the hub itself, such as the connect of a device. Services
//! (back-end applications) read it, each from its own position.
//!
//! [`EventLog`] is the port: it stores and reads events, and an adapter implements it. `ManagedEventLog` is what the
//! hub uses: an [`EventLog`] with settings, consumer groups, retention and metrics.
//!
//! The log has partitions. All events of a device are in the same partition, in the order in which the hub accepted
//! them. A reader can resume after any event that it has read. Reading removes nothing: retention removes events by age
//! and total size.
//!
//! Properties keep their types in the log ([`EventProperties`]), and a reader returns [`StoredEvent`]s. Each head renders
//! them for its protocol.

mod auth_method;
mod clock_watch;
mod connection_events;
mod consumer_groups;
mod emit;
#[cfg(test)]
mod fake;
mod hub_event;
mod log;
mod managed_event_log;
mod open_reader;
mod position;
mod properties;
mod reader;
mod retention;
mod send;
mod settings;
mod stored_event;

pub use auth_method::AuthMethod;
pub use consumer_groups::Stolen;
pub use log::{Batch, EVENT_OVERHEAD, EventIdentity, EventLog, LostEvents, NewEvent, PartitionState};
pub use open_reader::{EventLogState, ReadRequest};
pub use position::{Position, StartPosition};
pub use properties::{EventProperties, MalformedProperties, PropertyName, PropertyValue};
pub use reader::{EventReader, ReadError};
pub use send::DeviceMessage;
pub use settings::{EventSettings, EventSource};
pub use stored_event::StoredEvent;

pub(crate) use connection_events::ConnectionEvents;
pub(crate) use consumer_groups::ReaderSlotError;
pub(crate) use hub_event::HubEvent;
pub(crate) use managed_event_log::{ManagedEventLog, OpenReaderError};

/// Returns the partition of a device's events: FNV-1a of the device id, modulo the number of partitions.
///
/// Never change this function: the events of a device would move to another partition and lose their order.
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
    fn the_partition_of_a_device_never_changes() {
        assert_eq!([1, 4, 32].map(|count| partition_of("myDevice", count)), [0, 1, 25]);
        let used: std::collections::BTreeSet<u16> =
            (0..100).map(|n| partition_of(&format!("d{n}"), 4)).collect();
        assert_eq!(used.len(), 4);
    }
}
