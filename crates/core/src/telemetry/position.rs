//! Start positions and read positions of readers.

use std::collections::BTreeMap;
use std::fmt;

use ferrohub_model::Timestamp;

/// Where a reader starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartPosition {
    /// At the oldest event in the log.
    Start,
    /// At the next event that is appended.
    End,
    /// At the first event that was appended at this time or later.
    Time(Timestamp),
    /// After the events that were read up to this position.
    After(Position),
}

/// A read position: for each partition, the sequence number of the next event to read. A partition without an entry has
/// not been read yet.
///
/// The text form has the offset of the last event read in each partition, `0:1200,3:77`, or `-1` for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position(pub BTreeMap<u16, u64>);

impl Position {
    fn parse(text: &str) -> Option<Self> {
        let pairs = text.split(',').map(|pair| {
            let (partition, offset) = pair.split_once(':')?;
            let next = match offset {
                "-1" => 0,
                offset => offset.parse::<u64>().ok()?.checked_add(1)?,
            };
            Some((partition.parse().ok()?, next))
        });
        pairs.collect::<Option<_>>().map(Self)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, next)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            match next.checked_sub(1) {
                Some(offset) => write!(f, "{separator}{partition}:{offset}")?,
                None => write!(f, "{separator}{partition}:-1")?,
            }
        }
        Ok(())
    }
}

impl StartPosition {
    /// At the event of a partition with this sequence number, or at the next one.
    #[must_use]
    pub fn at_sequence(partition: u16, sequence: u64, inclusive: bool) -> Self {
        let next = if inclusive { sequence } else { sequence.saturating_add(1) };
        Self::After(Position([(partition, next)].into()))
    }

    /// At the first event that was appended at this time or later, or only later. Times have milliseconds.
    #[must_use]
    pub fn at_time(time: Timestamp, inclusive: bool) -> Self {
        Self::Time(if inclusive { time } else { time.plus_millis(1) })
    }

    /// At the event of a partition with this offset, or at the next one. As in Azure Event Hubs, `-1` is before the first
    /// event, and `@latest` is after the last one. `None` if it is not an offset of this event log.
    #[must_use]
    pub fn at_offset(partition: u16, offset: &str, inclusive: bool) -> Option<Self> {
        match offset {
            "-1" => Some(Self::Start),
            "@latest" => Some(Self::End),
            // `parse` alone also accepts a sign.
            offset if offset.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self::at_sequence(partition, offset.parse().ok()?, inclusive))
            }
            _ => None,
        }
    }

    /// Parses `start`, `end`, an RFC 3339 time or a [`Position`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "start" => Some(Self::Start),
            "end" => Some(Self::End),
            _ => Position::parse(text).map(Self::After).or_else(|| Timestamp::parse(text).map(Self::Time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_positions_are_parsed_in_every_form() {
        assert_eq!(StartPosition::parse("start"), Some(StartPosition::Start));
        assert_eq!(StartPosition::parse("end"), Some(StartPosition::End));
        let time = Timestamp::parse("2026-11-24T10:00:00Z").unwrap();
        assert_eq!(StartPosition::parse("2026-11-24T10:00:00Z"), Some(StartPosition::Time(time)));
        let after =
            |pairs: &[(u16, u64)]| Some(StartPosition::After(Position(pairs.iter().copied().collect())));
        assert_eq!(StartPosition::parse("0:12,3:7"), after(&[(0, 13), (3, 8)]));
        assert_eq!(StartPosition::parse("0:12,1:-1"), after(&[(0, 13), (1, 0)]));
        let overflow = format!("0:{}", u64::MAX);
        for text in ["", "now", "0:", "0:x", "x:1", "0:1,", "70000:1", "2026-11-24", "0:-2", &overflow] {
            assert_eq!(StartPosition::parse(text), None, "{text}");
        }
    }

    #[test]
    fn offsets_sequence_numbers_and_times_are_inclusive_or_not() {
        let next = |number| StartPosition::After(Position([(3, number)].into()));
        assert_eq!(StartPosition::at_sequence(3, 7, true), next(7));
        assert_eq!(StartPosition::at_sequence(3, 7, false), next(8));
        assert_eq!(StartPosition::at_offset(3, "7", false), Some(next(8)));
        for inclusive in [true, false] {
            assert_eq!(StartPosition::at_offset(3, "-1", inclusive), Some(StartPosition::Start));
            assert_eq!(StartPosition::at_offset(3, "@latest", inclusive), Some(StartPosition::End));
            for offset in ["", "-2", "+2", " 2", "x", "1:2", "18446744073709551616"] {
                assert_eq!(StartPosition::at_offset(3, offset, inclusive), None, "{offset}");
            }
        }
        let time = Timestamp::from_unix_millis;
        assert_eq!(StartPosition::at_time(time(5), true), StartPosition::Time(time(5)));
        assert_eq!(StartPosition::at_time(time(5), false), StartPosition::Time(time(6)));
    }

    #[test]
    fn a_formatted_position_parses_to_the_same_position() {
        let position = Position([(0, 13), (1, 0)].into());
        assert_eq!(position.to_string(), "0:12,1:-1");
        assert_eq!(Position::parse("0:12,1:-1"), Some(position));
    }
}
