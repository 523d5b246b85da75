//! How the log is kept.

use std::time::Duration;

/// What an event is. The numbers are stored; the names are what readers know as `iothub-message-source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// A device or module sent it.
    Telemetry = 0,
    /// A twin was changed.
    TwinChange = 1,
    /// A device or module was created or deleted.
    DeviceLifecycle = 2,
    /// A device or module connected or disconnected.
    ConnectionState = 3,
}

impl EventSource {
    /// All of them, by their numbers.
    pub const ALL: [Self; 4] =
        [Self::Telemetry, Self::TwinChange, Self::DeviceLifecycle, Self::ConnectionState];

    /// As readers know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::TwinChange => "twinChangeEvents",
            Self::DeviceLifecycle => "deviceLifecycleEvents",
            Self::ConnectionState => "deviceConnectionStateEvents",
        }
    }

    /// The source that readers know by that name, in capital or small letters.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name().eq_ignore_ascii_case(name))
    }

    /// The source with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// How events are kept and read.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// What goes into the log besides telemetry.
    pub sources: Vec<EventSource>,
    /// How long an event stays at most.
    pub retention: Duration,
    /// How large the log gets at most, in bytes; then the oldest events go.
    pub retention_bytes: u64,
    /// Groups of readers besides [`DEFAULT_CONSUMER_GROUP`](ferrohub_model::message::DEFAULT_CONSUMER_GROUP).
    pub consumer_groups: Vec<String>,
    /// Readers that one group may have on each partition.
    pub readers_per_group: usize,
    /// Largest event of a device, body and properties, in bytes.
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
    fn sources_are_found_by_number_and_name() {
        for (number, source) in EventSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, number);
            assert_eq!(EventSource::from_number(number as u8), Some(source));
            assert_eq!(EventSource::from_name(source.name()), Some(source));
        }
        assert_eq!(EventSource::from_name("twinchangeevents"), Some(EventSource::TwinChange));
        assert_eq!(EventSource::from_name("everything"), None);
    }
}
