//! Settings of the event log, and the sources of events.

use std::time::Duration;

/// The source of an event, as Azure calls it: what kind of event it is. The numbers are stored; readers see the names
/// as `iothub-message-source`. Which device or module the event belongs to is its
/// [`EventIdentity`](super::EventIdentity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// A device or module sent it.
    Telemetry = 0,
    /// A twin was updated or replaced.
    TwinChange = 1,
    /// A device or module was created or deleted.
    DeviceLifecycle = 2,
    /// A device or module connected or disconnected.
    ConnectionState = 3,
}

impl EventSource {
    /// All sources, by number.
    pub const ALL: [Self; 4] =
        [Self::Telemetry, Self::TwinChange, Self::DeviceLifecycle, Self::ConnectionState];

    /// Returns the name that readers see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::TwinChange => "twinChangeEvents",
            Self::DeviceLifecycle => "deviceLifecycleEvents",
            Self::ConnectionState => "deviceConnectionStateEvents",
        }
    }

    /// Returns the source with this name, ignoring case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name().eq_ignore_ascii_case(name))
    }

    /// Returns the source with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Settings for storing and reading events.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// Sources of hub events to record. Telemetry is always recorded.
    pub sources: Vec<EventSource>,
    /// Maximum age of an event.
    pub retention: Duration,
    /// Maximum size of the log, in bytes. Beyond it, the oldest events are removed.
    pub retention_bytes: u64,
    /// Consumer groups besides [`DEFAULT_CONSUMER_GROUP`](ferrohub_model::message::DEFAULT_CONSUMER_GROUP).
    pub consumer_groups: Vec<String>,
    /// Maximum number of readers of one group on each partition, without those that have an owner level.
    pub readers_per_group: usize,
    /// Maximum size of a device's event (body and properties), in bytes.
    pub event_bytes: usize,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            retention: Duration::from_secs(24 * 3600),
            retention_bytes: 4 * 1024 * 1024 * 1024,
            consumer_groups: Vec::new(),
            readers_per_group: 5,
            event_bytes: ferrohub_model::message::MAX_EVENT_SIZE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_found_by_number_and_by_name() {
        for (number, source) in EventSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, number);
            assert_eq!(EventSource::from_number(number as u8), Some(source));
            assert_eq!(EventSource::from_name(source.name()), Some(source));
        }
        assert_eq!(EventSource::from_name("twinchangeevents"), Some(EventSource::TwinChange));
        assert_eq!(EventSource::from_name("everything"), None);
    }
}
