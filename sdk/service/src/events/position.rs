//! Where to begin, and how far one has come.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Event, Timestamp};

/// Where to begin to read events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventStart {
    /// With the oldest event that is still there.
    Earliest,
    /// With the next event that comes.
    Latest,
    /// With the first event that the hub took then or later.
    Time(Timestamp),
    /// After the events that an [`EventStream`](crate::EventStream) gave.
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

/// How far somebody has read: to be kept as text, and to go on from later. Made from its text by `parse`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventPosition(BTreeMap<u16, Offset>);

/// The last event that was seen, or none yet.
type Offset = Option<u64>;

impl EventPosition {
    /// The events up to this one of its partition are seen.
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
        text.split(',').map(pair).collect::<Option<_>>().map(Self).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, format!("{text:?} is not a position in an event log"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_kept_as_text() {
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
