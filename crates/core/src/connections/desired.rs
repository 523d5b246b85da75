//! Changes of desired properties on their way to a device.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many changes may wait for a device to take them. One that is further behind is disconnected: it reads its twin
/// when it comes back, and has the truth at once.
const MAX_WAITING: usize = 32;

/// A change of desired properties, for the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredNotice {
    /// The version that the change led to.
    pub version: u64,
    /// The change, as JSON text.
    pub patch: Bytes,
}

/// What one connection has to say about desired properties, in the order of versions.
#[derive(Debug, Default)]
pub(super) struct DesiredOutbox {
    waiting: VecDeque<DesiredNotice>,
    /// The newest version that the device knows of; nothing up to it is sent any more.
    known: u64,
}

/// The device is too far behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooFarBehind;

impl DesiredOutbox {
    pub(super) fn push(&mut self, notice: DesiredNotice) -> Result<(), TooFarBehind> {
        let newest = self.waiting.back().map_or(self.known, |last| last.version.max(self.known));
        if notice.version <= newest {
            return Ok(());
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(TooFarBehind);
        }
        self.waiting.push_back(notice);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<DesiredNotice> {
        let notice = self.waiting.pop_front()?;
        self.known = notice.version;
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(notice)
    }

    /// The device read its twin, and knows of this version.
    pub(super) fn read(&mut self, version: u64) {
        self.known = self.known.max(version);
        let known = self.known;
        self.waiting.retain(|notice| notice.version > known);
    }

    /// The device does not want to be told any more.
    pub(super) fn clear(&mut self) {
        self.waiting = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(version: u64) -> DesiredNotice {
        DesiredNotice { version, patch: Bytes::new() }
    }

    fn all(outbox: &mut DesiredOutbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.pop()).map(|notice| notice.version).collect()
    }

    #[test]
    fn nothing_older_than_what_is_known_is_told() {
        let mut outbox = DesiredOutbox::default();
        for version in [2, 3, 3, 2, 5] {
            outbox.push(notice(version)).unwrap();
        }
        outbox.read(3);
        assert_eq!(all(&mut outbox), [5]);
        outbox.push(notice(4)).unwrap();
        outbox.push(notice(6)).unwrap();
        assert_eq!(all(&mut outbox), [6]);
        outbox.read(2);
        outbox.push(notice(6)).unwrap();
        assert!(all(&mut outbox).is_empty());
    }

    #[test]
    fn only_so_many_wait() {
        let mut outbox = DesiredOutbox::default();
        let (last, most) = (MAX_WAITING as u64 + 1, MAX_WAITING as u64);
        (1..=most).for_each(|version| outbox.push(notice(version)).unwrap());
        assert_eq!(outbox.push(notice(last)), Err(TooFarBehind));
    }
}
