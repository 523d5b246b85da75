//! Where a reader begins, and how far it has come.

use std::collections::BTreeMap;
use std::fmt;

use ferrohub_model::Timestamp;

/// Where a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartPosition {
    /// At the oldest event that is still there.
    Start,
    /// At the next event that comes.
    End,
    /// At the first event that was appended then or later.
    Time(Timestamp),
    /// Behind the events that a reader has seen.
    After(Position),
}

/// How far a reader has come: for each partition the sequence number of what comes next. A partition that is not
/// mentioned was not read yet.
///
/// Written as the offsets of the last events that were seen, `0:1200,3:77`, with `-1` for none.
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
    /// Reads `start`, `end`, a time in RFC 3339, or a [`Position`].
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
    fn positions_are_read_in_every_form() {
        assert_eq!(StartPosition::parse("start"), Some(StartPosition::Start));
        assert_eq!(StartPosition::parse("end"), Some(StartPosition::End));
        let time = Timestamp::parse("2026-11-24T10:00:00Z").unwrap();
        assert_eq!(StartPosition::parse("2026-11-24T10:00:00Z"), Some(StartPosition::Time(time)));
        let after =
            |pairs: &[(u16, u64)]| Some(StartPosition::After(Position(pairs.iter().copied().collect())));
        assert_eq!(StartPosition::parse("0:12,3:7"), after(&[(0, 13), (3, 8)]));
        assert_eq!(StartPosition::parse("0:12,1:-1"), after(&[(0, 13), (1, 0)]));
        let most = u64::MAX.to_string();
        let too_far = format!("0:{most}");
        for text in ["", "now", "0:", "0:x", "x:1", "0:1,", "70000:1", "2026-11-24", "0:-2", &too_far] {
            assert_eq!(StartPosition::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let position = Position([(0, 13), (1, 0)].into());
        assert_eq!(position.to_string(), "0:12,1:-1");
        assert_eq!(Position::parse("0:12,1:-1"), Some(position));
    }
}
