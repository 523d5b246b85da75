//! Positions in the event log.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Error, Event, Timestamp};

/// Where a stream of events begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventStart {
    /// At the oldest event in the log.
    Earliest,
    /// At the end of the log: only new events.
    Latest,
    /// At the first event that the hub received at this time or later.
    Time(Timestamp),
    /// After the events that an [`EventStream`](crate::EventStream) returned.
    After(EventPosition),
}

impl fmt::Display for EventStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("start"),
            Self::Latest => f.write_str("end"),
            Self::Time(time) => time.fmt(f),
            Self::After(position) => position.fmt(f),
        }
    }
}

/// A position in the event log: for each partition, the last event that was read. Store it as text (`to_string`), and
/// read it with `parse`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventPosition(BTreeMap<u16, Offset>);

/// The sequence number of the last event that was read; `None` before the first.
type Offset = Option<u64>;

impl EventPosition {
    /// Moves the position of the partition after this event.
    pub(super) fn advance(&mut self, event: &Event) {
        self.0.insert(event.partition, Some(event.sequence_number));
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, offset)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            match offset {
                Some(offset) => write!(f, "{separator}{partition}:{offset}")?,
                None => write!(f, "{separator}{partition}:-1")?,
            }
        }
        Ok(())
    }
}

impl FromStr for EventPosition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let pair = |pair: &str| {
            let (partition, offset) = pair.split_once(':')?;
            let offset = if offset == "-1" { None } else { Some(offset.parse().ok()?) };
            Some((partition.parse().ok()?, offset))
        };
        text.split(',')
            .map(pair)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| Error::invalid_input(format!("{text:?} is not a position in an event log")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_position_is_stored_as_text() {
        let position: EventPosition = "0:12,3:-1".parse().unwrap();
        assert_eq!(position.to_string(), "0:12,3:-1");
        assert_eq!(EventStart::After(position).to_string(), "0:12,3:-1");
        for text in ["", "0", "0:x", "x:0", "0:1,", "0:-2"] {
            assert_eq!(text.parse::<EventPosition>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
        let time = EventStart::Time(Timestamp::from_unix_millis(1));
        assert_eq!(time.to_string(), "1970-01-01T00:00:00.001Z");
    }
}
